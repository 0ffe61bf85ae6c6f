"""The engine's contract: actors."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

import gc
from typing import Any

import pytest

import shoal
from shoal.errors import ObjectLost
from shoal.testing.engine_base import EnginePart, get, needs
from shoal.testing.engine_gates import Marks, wait_for


class Counter:
    """A number that remembers."""

    def __init__(self, start: int = 0) -> None:
        self.count: int = start

    def add(self, amount: int = 1) -> int:
        self.count += amount
        return self.count

    def fail(self, message: str = "no") -> None:
        raise KeyError(message)

    def leave(self) -> None:
        shoal.exit_actor()


def living(name: str) -> bool:
    """Tell whether an actor of that name lives."""
    try:
        shoal.get_actor(name)
    except ValueError:
        return False
    return True


class ActorPart(EnginePart):
    """Classes whose instances live somewhere and remember."""

    def test_state_stays(self) -> None:
        counter = shoal.remote(Counter).remote(10)
        assert get([counter.add.remote(), counter.add.remote(2), counter.add.remote(amount=1)]) == [
            11,
            13,
            14,
        ]

    def test_calls_run_in_order(self) -> None:
        @shoal.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[int] = []

            def note(self, i: int) -> None:
                self.seen.append(i)

            def all(self) -> list[int]:
                return self.seen

        log = Log.remote()
        for i in range(300):
            log.note.remote(i)
        assert list(range(300)) == get(log.all.remote())

    def test_a_late_argument_does_not_change_the_order(self) -> None:
        @shoal.remote
        def value(x: int) -> int:
            return x

        @shoal.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[int] = []

            def note(self, i: int) -> list[int]:
                self.seen.append(i)
                return self.seen

        log = Log.remote()
        refs = [log.note.remote(value.remote(i) if i % 2 else i) for i in range(10)]
        assert list(range(10)) == get(refs[-1])

    def test_actors_are_apart(self) -> None:
        one, two = shoal.remote(Counter).remote(), shoal.remote(Counter).remote(5)
        assert get([one.add.remote(), two.add.remote()]) == [1, 6]

    def test_an_error_in_a_method_leaves_the_actor_alive(self) -> None:
        counter = shoal.remote(Counter).remote()
        with pytest.raises(KeyError, match="wrong"):
            get(counter.fail.remote("wrong"))
        assert get(counter.add.remote()) == 1

    def test_constructor_arguments_may_be_references(self) -> None:
        counter = shoal.remote(Counter).remote(shoal.put(7))
        assert get(counter.add.remote()) == 8

    def test_wrong_arguments_raise_at_the_call(self) -> None:
        remote_counter = shoal.remote(Counter)
        with pytest.raises(TypeError, match="Counter"):
            remote_counter.remote(1, 2)  # type: ignore[call-arg]
        counter = remote_counter.remote()
        with pytest.raises(TypeError, match="add"):
            counter.add.remote(1, 2)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="add"):
            counter.add.remote(nothing=1)  # type: ignore[call-arg]

    def test_an_unknown_method_lists_those_there_are(self) -> None:
        counter = shoal.remote(Counter).remote()
        with pytest.raises(AttributeError, match="'ad'; it has: add, fail, leave"):
            counter.ad.remote()  # type: ignore[misc]

    def test_direct_use_says_what_to_write(self) -> None:
        remote_counter = shoal.remote(Counter)
        with pytest.raises(TypeError, match=r"Counter.remote\(...\)"):
            remote_counter()
        counter = remote_counter.remote()
        with pytest.raises(TypeError, match=r"handle.add.remote\(...\)"):
            counter.add()

    def test_an_actor_class_cannot_be_inherited_from(self) -> None:
        remote_counter: Any = shoal.remote(Counter)
        with pytest.raises(TypeError, match="inherit from"):

            class Mine(remote_counter):  # type: ignore[misc]
                pass

    def test_inherited_methods(self) -> None:
        class Better(Counter):
            def add_twice(self) -> int:
                self.add()
                return super().add()

        assert get(shoal.remote(Better).remote().add_twice.remote()) == 2

    def test_every_kind_of_method(self) -> None:
        @shoal.remote
        class Kinds:
            @staticmethod
            def static(x: int) -> int:
                return x

            @classmethod
            def of_class(cls, x: int) -> tuple[str, int]:
                return cls.__name__, x

            def __call__(self, x: int) -> int:
                return -x

            def _private(self) -> str:
                return "private"

        kinds = Kinds.remote()
        assert get([kinds.static.remote(1), kinds.of_class.remote(2), kinds._private.remote()]) == [
            1,
            ("Kinds", 2),
            "private",
        ]
        assert get(kinds.__call__.remote(3)) == -3

    def test_options_of_methods(self) -> None:
        @shoal.remote
        class Pair:
            @shoal.method(num_returns=2)
            def both(self) -> tuple[int, int]:
                return 1, 2

        pair = Pair.remote()
        assert get(pair.both.remote()) == [1, 2]
        assert get(pair.both.options(num_returns=1).remote()) == (1, 2)
        assert pair.both.options(num_returns=0).remote() is None

    def test_retries_of_methods(self, marks: Marks) -> None:
        @shoal.remote(max_task_retries=5)
        class Flaky:
            @shoal.method(retry_exceptions=[OSError])
            def run(self) -> int:
                if marks.add() < 3:
                    raise OSError("again")
                return len(marks.all())

            def once(self) -> None:
                marks.add()
                raise OSError("only once")

        flaky = Flaky.remote()
        assert get(flaky.run.remote()) == 3
        with pytest.raises(OSError, match="only once"):
            get(flaky.once.remote())
        assert len(marks.all()) == 4

    def test_builtin_methods(self) -> None:
        counter = shoal.remote(Counter).remote(3)
        assert get(counter.__shoal_ready__.remote()) is True
        assert get(counter.__ray_ready__.remote()) is True
        assert get(counter.__shoal_call__.remote(lambda self, x: self.count + x, 4)) == 7
        assert get(counter.__ray_call__.remote(lambda self: self.count)) == 3

    @needs("device_objects")
    def test_tensors_that_stay_with_the_actor(self) -> None:
        class Keeper:
            @shoal.method(tensor_transport="shm")
            def make(self) -> Any:
                self.made = numpy.arange(50_000)
                return [self.made]

            def is_made(self, values: Any) -> bool:
                return values[0] is self.made

            def total(self, values: Any) -> int:
                return int(values[0].sum())

        numpy = pytest.importorskip("numpy")
        cls = shoal.remote(Keeper)
        keeper, other = cls.remote(), cls.remote()
        ref = keeper.make.remote()
        assert get(keeper.is_made.remote(ref)) is True
        assert get(other.total.remote(ref)) == int(numpy.arange(50_000).sum())
        shoal.kill(keeper)
        with pytest.raises(ObjectLost, match="kept by an actor"):
            get(other.total.remote(ref))


class HandlePart(EnginePart):
    """Handles travel, and keep actors alive."""

    def test_a_handle_as_an_argument(self) -> None:
        @shoal.remote
        def use(counter: Any) -> int:
            return get(counter.add.remote(5))

        counter = shoal.remote(Counter).remote()
        assert get(use.remote(counter)) == 5
        assert get(counter.add.remote()) == 6

    def test_a_handle_in_a_container_and_in_put(self) -> None:
        @shoal.remote
        def use(box: Any) -> int:
            return get(box["counter"].add.remote())

        counter = shoal.remote(Counter).remote()
        assert get(use.remote({"counter": counter})) == 1
        assert get(get(shoal.put([counter]))[0].add.remote()) == 2

    def test_a_captured_handle(self) -> None:
        counter = shoal.remote(Counter).remote()

        @shoal.remote
        def use() -> int:
            return get(counter.add.remote())

        assert sorted(get([use.remote(), use.remote()])) == [1, 2]

    def test_handles_of_one_actor_are_equal(self) -> None:
        counter = shoal.remote(Counter).remote()
        same = get(shoal.put([counter]))[0]
        assert counter == same
        assert hash(counter) == hash(same)
        assert counter != shoal.remote(Counter).remote()

    def test_an_actor_uses_an_actor(self) -> None:
        @shoal.remote
        class Middle:
            def __init__(self, counter: Any) -> None:
                self.counter = counter

            def add(self) -> int:
                return get(self.counter.add.remote()) + 100

        counter = shoal.remote(Counter).remote()
        assert get(Middle.remote(counter).add.remote()) == 101

    def test_an_actor_makes_actors(self) -> None:
        @shoal.remote
        class Parent:
            def __init__(self) -> None:
                self.children = [shoal.remote(Counter).remote(i) for i in range(3)]

            def sum(self) -> int:
                return sum(get([child.add.remote() for child in self.children]))

            def child(self) -> Any:
                return self.children[2]

        parent = Parent.remote()
        assert get(parent.sum.remote()) == 6
        child = get(parent.child.remote())
        assert get(child.add.remote()) == 4

    def test_an_actor_made_by_a_task(self) -> None:
        @shoal.remote
        def make() -> Any:
            return shoal.remote(Counter).remote(9)

        counter = get(make.remote())
        assert get(counter.add.remote()) == 10

    def test_a_method_kept_alone_keeps_the_actor(self) -> None:
        add = shoal.remote(Counter).remote().add
        gc.collect()
        assert [get(add.remote()), get(add.remote())] == [1, 2]

    def test_a_call_on_a_temporary_handle(self) -> None:
        assert get(shoal.remote(Counter).remote().add.remote()) == 1

    def test_an_actor_ends_with_its_last_handle(self) -> None:
        counter = shoal.remote(Counter).options(name="short-lived").remote()
        copy = get(shoal.put([counter]))[0]
        get(counter.add.remote())
        del counter
        assert get(copy.add.remote()) == 2
        del copy
        gc.collect()
        wait_for(lambda: not living("short-lived"), "the actor to end")

    def test_an_actor_finishes_its_calls_when_the_last_handle_goes(self, marks: Marks) -> None:
        @shoal.remote
        class Marker:
            def mark(self) -> None:
                marks.add()

        marker = Marker.remote()
        for _ in range(20):
            marker.mark.remote()
        del marker
        assert len(marks.wait_for(20)) == 20

    def test_an_actor_knows_itself(self) -> None:
        @shoal.remote
        class Self:
            def me(self) -> Any:
                return shoal.get_runtime_context().current_actor

            def name(self) -> str:
                return "me"

        actor = Self.remote()
        me = get(actor.me.remote())
        assert actor == me
        assert get(me.name.remote()) == "me"
