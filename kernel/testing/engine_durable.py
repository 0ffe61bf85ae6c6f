"""The engine's contract: actors whose state outlives their process."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

import threading
from typing import Any

import pytest

import shoal
from shoal.errors import ActorDied, ConfigError, StateNotSaved
from shoal.testing.engine_base import EnginePart, get, needs
from shoal.testing.engine_gates import Marks, wait_for


class Ledger:
    """Numbers in the order in which they came."""

    def __init__(self, marks: Marks | None = None) -> None:
        self.entries: list[int] = []
        if marks is not None:
            marks.add("made")

    def add(self, number: int) -> list[int]:
        self.entries.append(number)
        return list(self.entries)

    def add_and_fail(self, number: int) -> None:
        self.entries.append(number)
        raise KeyError(number)

    def add_a_lock(self, number: int) -> None:
        self.entries.append(number)
        self.lock = threading.Lock()

    def add_a_reference(self, number: int) -> None:
        self.entries.append(number)
        self.reference = shoal.put(number)

    def restarted(self) -> bool:
        return shoal.get_runtime_context().was_current_actor_reconstructed


class Careful:
    """Says itself what is kept."""

    def __init__(self, factor: int, marks: Marks) -> None:
        self.factor = factor
        self.total = 0
        self.lock = threading.Lock()
        marks.add("made")

    def add(self, number: int) -> int:
        with self.lock:
            self.total += number * self.factor
        return self.total

    def checkpoint(self) -> dict[str, int]:
        return {"total": self.total}

    def restore(self, value: dict[str, int]) -> None:
        self.total = value["total"]


def restart(actor: Any) -> None:
    """Have an actor begin anew, and wait until it has."""
    shoal.kill(actor, no_restart=False)
    wait_for(lambda: get(actor.restarted.remote()), "the actor to restart")


class DurableActorPart(EnginePart):
    """What is saved comes back with a restart; what cannot be saved is told."""

    @needs("durable_actors")
    def test_the_attributes_come_back_and_the_constructor_does_not_run_again(self, marks: Marks) -> None:
        ledger = shoal.remote(durable=True, exactly_once=True)(Ledger).remote(marks)
        assert get(ledger.add.remote(1)) == [1]
        restart(ledger)
        assert get(ledger.add.remote(2)) == [1, 2]
        restart(ledger)
        assert get(ledger.add.remote(3)) == [1, 2, 3]
        assert marks.all() == ["made"]

    @needs("durable_actors")
    def test_checkpoint_and_restore_say_what_is_kept(self, marks: Marks) -> None:
        careful = shoal.remote(durable=True, exactly_once=True)(Careful).remote(10, marks)
        assert get(careful.add.remote(1)) == 10
        shoal.kill(careful, no_restart=False)
        assert get(careful.add.remote(2)) == 30
        assert marks.all() == ["made", "made"], "it is constructed, then restored"

    @needs("durable_actors")
    def test_without_exactly_once_the_state_is_kept_as_well(self) -> None:
        ledger = shoal.remote(durable=True, checkpoint_interval_s=0, max_task_retries=-1)(Ledger).remote()
        assert get([ledger.add.remote(number) for number in range(3)])[-1] == [0, 1, 2]
        restart(ledger)
        assert get(ledger.add.remote(3)) == [0, 1, 2, 3]

    @needs("durable_actors")
    def test_what_a_call_changed_before_it_raised_is_kept(self) -> None:
        ledger = shoal.remote(durable=True, exactly_once=True)(Ledger).remote()
        with pytest.raises(KeyError):
            get(ledger.add_and_fail.remote(1))
        restart(ledger)
        assert get(ledger.add.remote(2)) == [1, 2]

    @needs("durable_actors")
    def test_a_call_whose_effect_cannot_be_saved_is_undone(self) -> None:
        ledger = shoal.remote(durable=True, exactly_once=True)(Ledger).remote()
        get(ledger.add.remote(1))
        with pytest.raises(StateNotSaved, match="lock"):
            get(ledger.add_a_lock.remote(2))
        with pytest.raises(StateNotSaved, match="ObjectRef"):
            get(ledger.add_a_reference.remote(3))
        assert get(ledger.add.remote(4)) == [1, 4]
        restart(ledger)
        assert get(ledger.add.remote(5)) == [1, 4, 5]

    @needs("durable_actors")
    def test_a_first_state_that_cannot_be_saved_is_a_failed_constructor(self) -> None:
        @shoal.remote(durable=True)
        class Locked:
            def __init__(self) -> None:
                self.lock = threading.Lock()

            def use(self) -> None: ...

        locked = Locked.remote()
        with pytest.raises(ActorDied, match="checkpoint"):
            get(locked.use.remote())

    @needs("durable_actors")
    def test_an_actor_that_was_killed_leaves_nothing(self) -> None:
        durable = shoal.remote(durable=True, exactly_once=True)(Ledger)
        first = durable.options(name="ledger").remote()
        get(first.add.remote(1))
        shoal.kill(first)
        second = durable.options(name="ledger").remote()
        assert get(second.add.remote(2)) == [2]
        shoal.kill(second)

    def test_an_engine_that_keeps_no_states_says_so(self) -> None:
        from shoal.interfaces.current import current

        assert current.engine is not None
        if "durable_actors" in current.engine.capabilities:
            pytest.skip("this one keeps them")
        with pytest.raises(ConfigError, match="keeps no states"):
            shoal.remote(durable=True)(Ledger).remote()
