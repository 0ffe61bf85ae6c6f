"""The engine's contract: how actors end, and actors that do several things at once."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal.death import Cause
from shoal.errors import ActorDied, PendingCallsLimitExceeded
from shoal.testing.engine_actors import Counter
from shoal.testing.engine_base import EnginePart, get, has, needs
from shoal.testing.engine_gates import Gate, Marks, wait_for


class ActorDeathPart(EnginePart):
    """How actors end, and what their callers learn."""

    def test_a_failed_constructor_is_told_to_every_caller(self) -> None:
        @shoal.remote
        class Broken:
            def __init__(self) -> None:
                raise ValueError("cannot be made")

            def use(self) -> None: ...

        broken = Broken.remote()
        for _ in range(2):
            with pytest.raises(ActorDied, match="cannot be made") as caught:
                get(broken.use.remote())
            assert caught.value.cause is not None
            assert Cause.INIT_FAILED is caught.value.cause.cause

    def test_kill(self) -> None:
        counter = shoal.remote(Counter).remote()
        get(counter.add.remote())
        shoal.kill(counter)
        with pytest.raises(ActorDied) as caught:
            get(counter.add.remote())
        assert caught.value.cause is not None
        assert Cause.KILLED_BY_USER is caught.value.cause.cause
        shoal.kill(counter)

    def test_kill_takes_handles_only(self) -> None:
        with pytest.raises(TypeError, match="cancel"):
            shoal.kill(shoal.put(1))  # type: ignore[arg-type]

    def test_kill_and_restart(self) -> None:
        counter = shoal.remote(Counter).options(max_restarts=1).remote(10)
        assert get(counter.add.remote()) == 11
        shoal.kill(counter, no_restart=False)
        # Until the process is gone the old instance may go on answering.
        wait_for(lambda: _count_of(counter) == 10, "the actor to start from its constructor again")
        shoal.kill(counter, no_restart=False)
        wait_for(lambda: _is_dead(counter), "the actor to be dead: its one restart is used")

    def test_an_actor_knows_that_it_was_restarted(self) -> None:
        @shoal.remote(max_restarts=-1)
        class Actor:
            def restarted(self) -> bool:
                return shoal.get_runtime_context().was_current_actor_reconstructed

        actor = Actor.remote()
        assert get(actor.restarted.remote()) is False
        shoal.kill(actor, no_restart=False)

        def restarted() -> bool:
            try:
                return bool(get(actor.restarted.remote()))
            except shoal.exceptions.ActorError:
                return False

        wait_for(restarted, "the actor to restart")

    def test_exit_actor(self) -> None:
        counter = shoal.remote(Counter).options(max_restarts=3).remote()
        left = counter.leave.remote()
        with pytest.raises(ActorDied) as caught:
            get(left)
        assert caught.value.cause is not None
        assert Cause.INTENDED_EXIT is caught.value.cause.cause
        with pytest.raises(ActorDied):
            get(counter.add.remote())

    def test_exit_actor_outside_an_actor(self) -> None:
        with pytest.raises(TypeError, match="not an actor"):
            shoal.exit_actor()

    def test_terminate_lets_earlier_calls_finish(self) -> None:
        counter = shoal.remote(Counter).remote()
        refs = [counter.add.remote() for _ in range(10)]
        counter.__shoal_terminate__.remote()
        assert list(range(1, 11)) == get(refs)
        with pytest.raises(ActorDied):
            get(counter.add.remote())

    @needs("parallel")
    def test_a_call_that_runs_when_its_actor_is_killed_is_an_error(self, gate: Gate, marks: Marks) -> None:
        @shoal.remote
        class Stuck:
            def stay(self) -> None:
                marks.add()
                gate.pass_through()

            def after(self) -> None: ...

        stuck = Stuck.remote()
        refs = [stuck.stay.remote(), stuck.after.remote()]
        marks.wait_for(1)
        shoal.kill(stuck)
        for ref in refs:
            with pytest.raises(ActorDied):
                get(ref)

    @needs("kill_process")
    def test_the_death_of_its_process_is_the_death_of_the_actor(self) -> None:
        @shoal.remote
        class Fragile:
            def end(self) -> None:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGKILL)

        fragile = Fragile.remote()
        with pytest.raises(ActorDied) as caught:
            get(fragile.end.remote())
        assert caught.value.cause is not None
        assert caught.value.cause.signal == (9 if has("exit_signals") else None)


class ConcurrentActorPart(EnginePart):
    """Async actors, threads and limits."""

    @needs("async_actors")
    def test_async_methods_take_turns(self) -> None:
        @shoal.remote
        class Door:
            def __init__(self) -> None:
                import asyncio

                self.event = asyncio.Event()

            async def wait(self) -> str:
                await self.event.wait()
                return "through"

            async def open(self) -> None:
                self.event.set()

        door = Door.remote()
        waiting = [door.wait.remote() for _ in range(5)]
        get(door.open.remote())
        assert get(waiting) == ["through"] * 5

    @needs("async_actors", "ordered_async")
    def test_async_calls_start_in_order(self) -> None:
        @shoal.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[int] = []

            async def note(self, i: int) -> list[int]:
                self.seen.append(i)
                return self.seen

        log = Log.remote()
        assert list(range(50)) == get([log.note.remote(i) for i in range(50)])[-1]

    @needs("async_actors")
    def test_max_concurrency_of_an_async_actor(self) -> None:
        @shoal.remote(max_concurrency=2)
        class Busy:
            def __init__(self) -> None:
                import asyncio

                self.now = self.most = 0
                self.full = asyncio.Event()

            async def work(self) -> int:
                self.now += 1
                self.most = max(self.most, self.now)
                if self.now == 2:
                    self.full.set()
                await self.full.wait()
                self.now -= 1
                return self.most

        busy = Busy.remote()
        assert max(get([busy.work.remote() for _ in range(10)])) == 2

    @needs("async_actors")
    def test_await_inside_an_async_actor(self) -> None:
        @shoal.remote
        def value(x: int) -> int:
            return x

        @shoal.remote
        class Asking:
            async def ask(self) -> int:
                return await value.remote(1) + sum([await ref for ref in [value.remote(2), shoal.put(3)]])

        assert get(Asking.remote().ask.remote()) == 6

    @needs("async_actors")
    def test_get_inside_an_async_actor_says_to_await(self) -> None:
        @shoal.remote
        class Blocking:
            async def block(self) -> Any:
                return shoal.get(shoal.put(1))

        with pytest.raises(RuntimeError, match="await ref"):
            get(Blocking.remote().block.remote())

    @needs("async_actors", "ordered_async")
    def test_sync_methods_of_an_async_actor(self) -> None:
        @shoal.remote
        class Mixed:
            def __init__(self) -> None:
                self.count = 0

            def sync(self) -> int:
                self.count += 1
                return self.count

            async def later(self) -> int:
                self.count += 10
                return self.count

        mixed = Mixed.remote()
        assert get([mixed.sync.remote(), mixed.later.remote(), mixed.sync.remote()]) == [1, 11, 12]

    @needs("async_actors")
    def test_an_error_in_an_async_method(self) -> None:
        @shoal.remote
        class Bad:
            async def fail(self) -> None:
                raise KeyError("async")

            async def work(self) -> int:
                return 1

        bad = Bad.remote()
        with pytest.raises(KeyError, match="async"):
            get(bad.fail.remote())
        assert get(bad.work.remote()) == 1

    @needs("async_actors")
    def test_too_many_calls_are_refused(self) -> None:
        @shoal.remote(max_pending_calls=2)
        class Door:
            def __init__(self) -> None:
                import asyncio

                self.event = asyncio.Event()

            async def wait(self) -> int:
                await self.event.wait()
                return 1

            async def open(self) -> None:
                self.event.set()

        door = Door.remote()
        refs = [door.wait.remote(), door.wait.remote()]
        with pytest.raises(PendingCallsLimitExceeded):
            door.wait.remote()
        assert ([], refs) == shoal.wait(refs, num_returns=2, timeout=0)
        shoal.kill(door)
        with pytest.raises(ActorDied):
            get(refs)

    @needs("parallel")
    def test_threads_of_an_actor(self, gate: Gate) -> None:
        @shoal.remote(max_concurrency=2)
        class Threaded:
            def wait(self) -> str:
                gate.pass_through()
                return "through"

            def open(self) -> None:
                gate.open()

        threaded = Threaded.remote()
        waiting = threaded.wait.remote()
        get(threaded.open.remote())
        assert get(waiting) == "through"

    @needs("parallel")
    def test_concurrency_groups_do_not_wait_for_each_other(self, gate: Gate) -> None:
        @shoal.remote(concurrency_groups={"slow": 1, "fast": 1})
        class Groups:
            @shoal.method(concurrency_group="slow")
            def wait(self) -> str:
                gate.pass_through()
                return "slow"

            @shoal.method(concurrency_group="fast")
            def quick(self) -> str:
                return "fast"

            def plain(self) -> str:
                return "plain"

        actor = Groups.remote()
        waiting = actor.wait.remote()
        assert get(actor.quick.remote()) == "fast"
        assert get(actor.plain.options(concurrency_group="fast").remote()) == "plain"
        assert get(actor.plain.remote()) == "plain"
        gate.open()
        assert get(waiting) == "slow"

    @needs("parallel")
    def test_actors_run_beside_each_other(self, gate: Gate) -> None:
        @shoal.remote
        class Waiter:
            def wait(self) -> int:
                gate.pass_through()
                return 1

            def open(self) -> int:
                gate.open()
                return 2

        one, two = Waiter.remote(), Waiter.remote()
        waiting = one.wait.remote()
        assert get([two.open.remote(), waiting]) == [2, 1]


def _count_of(actor: Any) -> int | None:
    try:
        return int(get(actor.add.remote(0)))
    except shoal.exceptions.ActorError:
        return None


def _is_dead(actor: Any) -> bool:
    try:
        get(actor.add.remote())
    except ActorDied:
        return True
    except shoal.exceptions.ActorError:
        return False
    return False
