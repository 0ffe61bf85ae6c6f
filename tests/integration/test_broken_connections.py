"""A connection to an actor breaks while both ends live: calls go on, or say that they may have run; nothing hangs."""

from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal import errors
from shoal.interfaces.current import current
from shoal.native.engine import NativeEngine

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]
SECONDS = 30


class Ledger:
    def __init__(self) -> None:
        self.entries: list[int] = []

    def add(self, number: int) -> int:
        self.entries.append(number)
        return len(self.entries)

    def all(self) -> list[int]:
        return self.entries


def break_connection(actor: Any, numbers: range) -> list[Any]:
    """Call and cut the line at once: the calls are on their way, their answers are not."""
    engine = current.engine
    assert isinstance(engine, NativeEngine)
    client = engine.client
    with client.reactor.lock:
        caller = client.actors.find(actor._shoal_info.actor_id)
        refs = [actor.add.remote(number) for number in numbers]
        client.reactor.flush()
        assert caller is not None
        assert caller.peer is not None
        assert caller.peer.connection is not None
        caller.peer.connection.close()
    return refs


def test_with_exactly_once_nobody_notices() -> None:
    ledger = shoal.remote(durable=True, exactly_once=True)(Ledger).remote()
    assert shoal.get(ledger.add.remote(0), timeout=SECONDS) == 1
    count = 1
    for round_ in range(5):
        refs = break_connection(ledger, range(count, count + 20 * round_))
        count += len(refs)
        assert shoal.get(refs, timeout=SECONDS) == list(range(count - len(refs) + 1, count + 1))
        assert shoal.get(ledger.add.remote(count), timeout=SECONDS) == count + 1
        count += 1
    assert shoal.get(ledger.all.remote(), timeout=SECONDS) == list(range(count))


def test_with_retries_calls_are_sent_again() -> None:
    ledger = shoal.remote(max_task_retries=1)(Ledger).remote()
    shoal.get(ledger.add.remote(0), timeout=SECONDS)
    refs = break_connection(ledger, range(1, 4))
    assert len(shoal.get(refs, timeout=SECONDS)) == 3
    assert set(shoal.get(ledger.all.remote(), timeout=SECONDS)) == set(range(4))


def test_without_retries_they_may_have_run_and_the_actor_can_be_called() -> None:
    ledger = shoal.remote(Ledger).remote()
    shoal.get(ledger.add.remote(0), timeout=SECONDS)
    refs = break_connection(ledger, range(1, 3))
    later = ledger.add.remote(3)
    for ref in refs:
        with pytest.raises(errors.ActorUnavailable, match="may have run"):
            shoal.get(ref, timeout=SECONDS)
    assert shoal.get(later, timeout=SECONDS) >= 2
    assert shoal.get(ledger.all.remote(), timeout=SECONDS)[-1] == 3
