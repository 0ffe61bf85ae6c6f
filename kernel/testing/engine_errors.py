"""The engine's contract: errors and retries, cancelling, streams."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal.errors import (
    ExceptionNotSerializable,
    GetTimeout,
    NotSerializable,
    ShoalError,
    TaskCancelled,
    TaskError,
    WorkerCrashed,
)
from shoal.testing.engine_base import EnginePart, get, has, needs
from shoal.testing.engine_gates import Gate, Marks, wait_for


class ErrorPart(EnginePart):
    """What user code raises there is raised here."""

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("text"),
            KeyError("key"),
            OSError(2, "No such file", "name"),
            UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
            ImportError("no module", name="m", path="p"),
            StopIteration(3),
            ZeroDivisionError(),
            TimeoutError("theirs"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_errors_are_of_the_users_class(self, error: Exception) -> None:
        @shoal.remote(max_retries=0)
        def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            get(fail.remote())
        assert isinstance(caught.value, TaskError)
        assert isinstance(caught.value, ShoalError)
        assert error.args == caught.value.args
        assert type(error) is type(caught.value.original)
        assert caught.value.__cause__ is caught.value.original
        if isinstance(error, OSError):
            assert (error.errno, error.filename) == (caught.value.errno, caught.value.filename)

    def test_the_remote_traceback_is_shown_without_our_frames(self) -> None:
        @shoal.remote
        def very_special_name() -> None:
            raise ValueError("deep down")

        with pytest.raises(ValueError, match="deep down") as caught:
            get(very_special_name.remote())
        text = str(caught.value)
        assert "very_special_name" in text
        assert 'raise ValueError("deep down")' in text
        assert "/serial/" not in text
        assert "run_now" not in text

    def test_attributes_of_the_error_stay(self) -> None:
        class Refused(Exception):
            def __init__(self, code: int, *, hint: str) -> None:
                super().__init__(f"refused with {code}")
                self.code = code
                self.hint = hint

        @shoal.remote
        def fail() -> None:
            raise Refused(7, hint="try later")

        with pytest.raises(Refused, match="refused with 7") as caught:
            get(fail.remote())
        assert (caught.value.code, caught.value.hint) == (7, "try later")

    def test_an_error_through_several_tasks_keeps_its_class(self) -> None:
        class Mine(Exception):
            pass

        @shoal.remote
        def inner() -> None:
            raise Mine("innermost")

        @shoal.remote
        def outer() -> None:
            get(inner.remote())

        @shoal.remote
        def outermost() -> None:
            get(outer.remote())

        with pytest.raises(Mine, match="innermost") as caught:
            get(outermost.remote())
        assert "outermost" in str(caught.value)

    def test_an_error_that_cannot_be_pickled_keeps_its_text(self) -> None:
        class Locked(Exception):
            def __init__(self) -> None:
                import threading

                super().__init__("has a lock")
                self.lock = threading.Lock()

        @shoal.remote
        def fail() -> None:
            raise Locked

        with pytest.raises(ExceptionNotSerializable, match="has a lock"):
            get(fail.remote())

    def test_a_result_that_cannot_be_pickled_is_the_tasks_error(self) -> None:
        @shoal.remote
        def fail() -> Any:
            import threading

            return {"deep": [threading.Lock()]}

        with pytest.raises(NotSerializable, match="'deep'"):
            get(fail.remote())

    def test_an_argument_that_cannot_be_pickled_is_named(self) -> None:
        import threading

        @shoal.remote
        def use(a: Any, b: Any) -> None: ...

        with pytest.raises(NotSerializable, match=r"'b' of .*use.*\['x'\].*lock"):
            use.remote(1, {"x": threading.Lock()})

    def test_a_captured_variable_that_cannot_be_pickled_is_named(self) -> None:
        import threading

        trouble = threading.Lock()

        @shoal.remote
        def use() -> Any:
            return trouble

        with pytest.raises(NotSerializable, match="'trouble'"):
            use.remote()

    def test_a_groups_parts_can_be_told_apart(self) -> None:
        group = pytest.importorskip("builtins").__dict__.get("ExceptionGroup")
        if group is None:
            pytest.skip("this Python has no ExceptionGroup")

        @shoal.remote
        def fail() -> None:
            raise group("several", [ValueError("one"), KeyError("two")])

        with pytest.raises(group) as caught:
            get(fail.remote())
        assert [ValueError, KeyError] == [type(part) for part in caught.value.exceptions]

    def test_the_first_error_of_a_list_is_raised(self) -> None:
        @shoal.remote
        def fail(message: str) -> None:
            raise ValueError(message)

        with pytest.raises(ValueError, match="first"):
            get([shoal.put(1), fail.remote("first"), fail.remote("second")])

    @needs("kill_process")
    def test_the_death_of_its_process_is_the_error_of_the_task(self) -> None:
        @shoal.remote(max_retries=0)
        def end() -> None:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(WorkerCrashed) as caught:
            get(end.remote())
        assert caught.value.cause is not None
        assert caught.value.cause.signal == (9 if has("exit_signals") else None)


class RetryPart(EnginePart):
    """max_retries and retry_exceptions."""

    @pytest.mark.parametrize("kinds", [True, [OSError], (KeyError, OSError)])
    def test_exceptions_are_tried_again(self, marks: Marks, kinds: Any) -> None:
        @shoal.remote(max_retries=5, retry_exceptions=kinds)
        def flaky() -> int:
            if marks.add() < 4:
                raise ConnectionError("again")
            return len(marks.all())

        assert get(flaky.remote()) == 4

    def test_only_those_that_were_named(self, marks: Marks) -> None:
        @shoal.remote(max_retries=5, retry_exceptions=[OSError])
        def wrong() -> None:
            marks.add()
            raise ValueError("not an OSError")

        with pytest.raises(ValueError, match="not an OSError"):
            get(wrong.remote())
        assert len(marks.all()) == 1

    def test_not_for_ever(self, marks: Marks) -> None:
        @shoal.remote(max_retries=2, retry_exceptions=True)
        def bad() -> None:
            marks.add()
            raise ValueError("always")

        with pytest.raises(ValueError, match="always"):
            get(bad.remote())
        assert len(marks.all()) == 3

    def test_not_unless_asked_for(self, marks: Marks) -> None:
        @shoal.remote
        def bad() -> None:
            marks.add()
            raise ValueError("once")

        with pytest.raises(ValueError, match="once"):
            get(bad.remote())
        assert len(marks.all()) == 1

    @needs("kill_process")
    def test_a_crash_is_tried_again_without_asking(self, marks: Marks) -> None:
        @shoal.remote(max_retries=2)
        def crash() -> int:
            import os
            import signal

            if marks.add() < 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return len(marks.all())

        assert get(crash.remote()) == 3


class CancelPart(EnginePart):
    """cancel."""

    def test_what_is_done_stays_done(self) -> None:
        @shoal.remote
        def one() -> int:
            return 1

        ref = one.remote()
        get(ref)
        shoal.cancel(ref)
        assert get(ref) == 1

    def test_what_put_made_cannot_be_cancelled(self) -> None:
        with pytest.raises(TypeError, match="put"):
            shoal.cancel(shoal.put(1))
        with pytest.raises(TypeError, match="reference"):
            shoal.cancel(5)  # type: ignore[arg-type]

    @needs("parallel")
    def test_a_task_that_waits_never_starts(self, gate: Gate, marks: Marks) -> None:
        @shoal.remote
        def slow() -> int:
            gate.pass_through()
            return 1

        @shoal.remote
        def after(x: int) -> None:
            marks.add()

        ref = after.remote(slow.remote())
        shoal.cancel(ref)
        with pytest.raises(TaskCancelled):
            get(ref)
        gate.open()

        @shoal.remote
        def last() -> int:
            return 1

        assert get(last.remote()) == 1
        assert marks.all() == []

    @needs("parallel")
    def test_a_task_that_runs_is_interrupted(self, gate: Gate, marks: Marks) -> None:
        @shoal.remote
        def slow() -> None:
            marks.add("started")
            try:
                gate.pass_through()
            except KeyboardInterrupt:
                marks.add("interrupted")
                raise

        ref = slow.remote()
        marks.wait_for(1)
        shoal.cancel(ref)
        with pytest.raises(TaskCancelled):
            get(ref)
        assert marks.wait_for(2) == ["started", "interrupted"]

    @needs("kill_process")
    def test_force_ends_the_process(self, gate: Gate, marks: Marks) -> None:
        @shoal.remote
        def stubborn() -> None:
            while True:
                try:
                    marks.add()
                    gate.pass_through()
                    return
                except KeyboardInterrupt:
                    continue

        ref = stubborn.remote()
        marks.wait_for(1)
        shoal.cancel(ref, force=True)
        with pytest.raises(TaskCancelled):
            get(ref)

    @needs("parallel")
    def test_children_are_cancelled_too(self, gate: Gate, marks: Marks) -> None:
        @shoal.remote
        def child() -> None:
            marks.add("child")
            gate.pass_through()
            marks.add("child finished")

        @shoal.remote
        def parent() -> None:
            get(child.remote())

        ref = parent.remote()
        marks.wait_for(1)
        shoal.cancel(ref)
        with pytest.raises(TaskCancelled):
            get(ref)
        assert "child finished" not in marks.all()

    @needs("async_actors")
    def test_an_async_method_is_cancelled(self) -> None:
        @shoal.remote
        class Door:
            def __init__(self) -> None:
                self.log: list[str] = []

            async def wait(self) -> None:
                import asyncio

                self.log.append("waits")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.log.append("cancelled")
                    raise

            async def seen(self) -> list[str]:
                return self.log

        door = Door.remote()
        ref = door.wait.remote()
        wait_for(lambda: get(door.seen.remote()) == ["waits"], "the call to begin")
        with pytest.raises(ValueError, match="kill"):
            shoal.cancel(ref, force=True)
        shoal.cancel(ref)
        with pytest.raises(TaskCancelled):
            get(ref)
        assert get(door.seen.remote()) == ["waits", "cancelled"]


class StreamPart(EnginePart):
    """Generators whose items can be read while they run."""

    @needs("streaming")
    def test_items_one_by_one(self) -> None:
        @shoal.remote
        def count(n: int) -> Any:
            yield from range(n)

        stream = count.remote(5)
        assert isinstance(stream, shoal.ObjectRefGenerator)
        assert [get(ref) for ref in stream] == [0, 1, 2, 3, 4]
        with pytest.raises(StopIteration):
            next(stream)
        assert stream.is_finished()

    @needs("streaming")
    def test_no_items(self) -> None:
        @shoal.remote
        def nothing() -> Any:
            yield from ()

        stream = nothing.remote()
        assert list(stream) == []
        assert get(stream.completed()) is None

    @needs("streaming")
    def test_an_error_comes_after_the_items_before_it(self) -> None:
        @shoal.remote
        def fail() -> Any:
            yield 1
            yield 2
            raise KeyError("third")

        refs = list(fail.remote())
        assert get(refs[:2]) == [1, 2]
        assert len(refs) == 3
        with pytest.raises(KeyError, match="third"):
            get(refs[2])

    @needs("stream_errors", "streaming")
    def test_completed_raises_the_error(self) -> None:
        @shoal.remote
        def fail() -> Any:
            yield 1
            raise KeyError("at the end")

        stream = fail.remote()
        with pytest.raises(KeyError, match="at the end"):
            get(stream.completed())

    @needs("streaming")
    def test_an_argument_that_failed(self) -> None:
        @shoal.remote
        def bad() -> None:
            raise KeyError("argument")

        @shoal.remote
        def count(x: Any) -> Any:
            yield x

        with pytest.raises(KeyError, match="argument"):
            get(next(count.remote(bad.remote())))

    @needs("streaming", "parallel")
    def test_items_are_there_before_the_end(self, gate: Gate) -> None:
        @shoal.remote
        def two() -> Any:
            yield "early"
            gate.pass_through()
            yield "late"

        stream = two.remote()
        assert get(next(stream)) == "early"
        assert not stream.next_ready()
        gate.open()
        assert get(next(stream)) == "late"

    @needs("streaming")
    def test_backpressure_stops_the_generator(self, marks: Marks) -> None:
        @shoal.remote(_generator_backpressure_num_objects=2)
        def many() -> Any:
            for i in range(50):
                marks.add()
                yield i

        stream = many.remote()
        assert [get(next(stream)) for _ in range(3)] == [0, 1, 2]
        assert len(marks.all()) < 10
        assert list(range(3, 50)) == [get(ref) for ref in stream]

    @needs("streaming")
    def test_large_items(self) -> None:
        @shoal.remote
        def large() -> Any:
            for i in range(5):
                yield bytes([i]) * 400_000

        assert [bytes([i]) * 400_000 for i in range(5)] == [get(ref) for ref in large.remote()]

    @needs("streaming")
    def test_an_actors_generator(self) -> None:
        @shoal.remote
        class Source:
            def __init__(self) -> None:
                self.calls = 0

            def count(self, n: int) -> Any:
                self.calls += 1
                yield from range(n)

            def seen(self) -> int:
                return self.calls

        source = Source.remote()
        assert [get(ref) for ref in source.count.remote(3)] == [0, 1, 2]
        assert get(source.seen.remote()) == 1

    @needs("streaming", "async_actors")
    def test_an_async_actors_generator(self) -> None:
        @shoal.remote
        class Source:
            async def count(self, n: int) -> Any:
                import asyncio

                for i in range(n):
                    await asyncio.sleep(0)
                    yield i

        assert [get(ref) for ref in Source.remote().count.remote(3)] == [0, 1, 2]

    @needs("streaming")
    def test_async_for(self) -> None:
        import asyncio

        @shoal.remote
        def count(n: int) -> Any:
            yield from range(n)

        async def main() -> list[Any]:
            return [await ref async for ref in count.remote(4)]

        assert asyncio.run(main()) == [0, 1, 2, 3]

    @needs("streaming")
    def test_a_stream_stays_where_it_is(self) -> None:
        @shoal.remote
        def count() -> Any:
            yield 1

        with pytest.raises((NotSerializable, TypeError)):
            shoal.put([count.remote()])

    @needs("streaming", "parallel")
    def test_a_cancelled_stream_ends(self, gate: Gate) -> None:
        @shoal.remote
        def endless() -> Any:
            i = 0
            while True:
                yield i
                i += 1
                if i == 3:
                    gate.pass_through()

        stream = endless.remote()
        assert [get(next(stream)) for _ in range(3)] == [0, 1, 2]
        shoal.cancel(stream)
        with pytest.raises(TaskCancelled):
            get(list(stream))


class TimeoutPart(EnginePart):
    """Nothing waits longer than it was told to."""

    @needs("parallel")
    def test_get_of_many_gives_up_as_one(self, gate: Gate) -> None:
        @shoal.remote
        def slow() -> None:
            gate.pass_through()

        refs = [slow.remote() for _ in range(20)]
        with pytest.raises(GetTimeout):
            shoal.get(refs, timeout=0.1)
