"""Durable actors in real processes: killed at any moment, they come back with what was saved, and lose no call."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter as Count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from leftovers import eventually

import shoal
from shoal import errors

pytestmark = pytest.mark.processes
SECONDS = 60


class Ledger:
    """Who called with what, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    def add(self, caller: str, number: int) -> int:
        self.entries.append((caller, number))
        return len(self.entries)

    def add_and_die(self, caller: str, number: int, once: str) -> int:
        """The effect is there, the answer is not: the process dies in the middle of the call, the first time."""
        self.entries.append((caller, number))
        if not os.path.exists(once):
            Path(once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return len(self.entries)

    def fail(self, number: int) -> None:
        self.entries.append(("fail", number))
        raise KeyError(number)

    def two(self, number: int) -> tuple[int, Any]:
        self.entries.append(("two", number))
        return number, np.full(200_000, number)

    def large(self, number: int) -> Any:
        self.entries.append(("large", number))
        return np.full(200_000, number)

    def nothing(self, number: int) -> None:
        self.entries.append(("nothing", number))

    def all(self) -> list[tuple[str, int]]:
        return self.entries

    def pid(self) -> int:
        return os.getpid()


once = shoal.remote(durable=True, exactly_once=True, num_cpus=0)(Ledger)


@shoal.remote(num_cpus=0)
class Caller:
    """A process of its own that calls another actor."""

    def __init__(self, name: str, ledger: Any) -> None:
        self.name = name
        self.ledger = ledger

    def call(self, count: int, at_once: int) -> list[int]:
        answers: list[int] = []
        for start in range(0, count, at_once):
            numbers = range(start, min(start + at_once, count))
            answers += shoal.get(
                [self.ledger.add.remote(self.name, number) for number in numbers], timeout=SECONDS
            )
        return answers


class Assassin:
    """Kills an actor's process again and again, at moments that a seed chooses."""

    def __init__(self, actor: Any, seed: int) -> None:
        self._actor = actor
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed = 0

    def __enter__(self) -> Assassin:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(SECONDS)

    def _run(self) -> None:
        last = 0
        while not self._stop.wait(self._chance.uniform(0.0, 0.25)):
            pid = shoal.get(self._actor.pid.remote(), timeout=SECONDS)
            if self._stop.wait(self._chance.uniform(0.0, 0.02)):
                return
            if pid != last:
                os.kill(pid, signal.SIGKILL)
                last = pid
                self.killed += 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_under_kills_every_call_of_every_caller_is_applied_once_and_in_order(session: Any, seed: int) -> None:
    ledger = once.remote()
    callers = [Caller.remote(f"caller {index}", ledger) for index in range(3)]
    count = 300
    with Assassin(ledger, seed) as assassin:
        refs = [
            caller.call.remote(count, at_once) for caller, at_once in zip(callers, (1, 7, 300), strict=True)
        ]
        mine = []
        for start in range(0, count, 20):
            mine += shoal.get(
                [ledger.add.remote("driver", start + number) for number in range(20)], timeout=SECONDS
            )
        answers = shoal.get(refs, timeout=SECONDS)
        eventually(lambda: assassin.killed >= 3, "it was killed three times", SECONDS)
    entries = shoal.get(ledger.all.remote(), timeout=SECONDS)
    assert Count(entries).most_common(1)[0][1] == 1, "applied twice"
    for name, theirs in zip(["caller 0", "caller 1", "caller 2", "driver"], [*answers, mine], strict=True):
        assert [number for caller, number in entries if caller == name] == list(range(count))
        assert [entries[position - 1] for position in theirs] == [(name, number) for number in range(count)]


def test_a_call_that_dies_with_the_process_is_applied_on_the_saved_state(
    session: Any, tmp_path: Path
) -> None:
    ledger = once.remote()
    once_only = str(tmp_path / "died")
    refs = [
        ledger.add.remote("a", 0),
        ledger.add_and_die.remote("a", 1, once_only),
        ledger.add.remote("a", 2),
    ]
    assert shoal.get(refs, timeout=SECONDS) == [1, 2, 3]
    assert shoal.get(ledger.all.remote(), timeout=SECONDS) == [("a", 0), ("a", 1), ("a", 2)]


def test_answers_of_every_kind_come_through_kills(session: Any) -> None:
    ledger = once.remote()
    pair = ledger.two.options(num_returns=2)
    with Assassin(ledger, seed=5) as assassin:
        for number in range(1000):
            with pytest.raises(KeyError):
                shoal.get(ledger.fail.remote(number), timeout=SECONDS)
            one, two = shoal.get(pair.remote(number), timeout=SECONDS)
            assert (one, int(two.sum())) == (number, number * 200_000)
            assert int(shoal.get(ledger.large.remote(number), timeout=SECONDS).sum()) == number * 200_000
            assert ledger.nothing.options(num_returns=0).remote(number) is None
            if assassin.killed >= 6:
                break
        assert assassin.killed >= 6
    entries = shoal.get(ledger.all.remote(), timeout=SECONDS)
    assert entries == [(name, n) for n in range(number + 1) for name in ("fail", "two", "large", "nothing")]


def test_at_an_interval_of_nothing_what_was_answered_is_kept(session: Any) -> None:
    ledger = shoal.remote(durable=True, checkpoint_interval_s=0)(Ledger).remote()
    for round_ in range(5):
        assert shoal.get(ledger.add.remote("a", round_), timeout=SECONDS) == round_ + 1
        pid = shoal.get(ledger.pid.remote(), timeout=SECONDS)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: is_new(ledger, pid), "it is back", SECONDS)  # type: ignore[misc]
    assert len(shoal.get(ledger.all.remote(), timeout=SECONDS)) == 5


def is_new(actor: Any, pid: int) -> bool:
    try:
        return bool(shoal.get(actor.pid.remote(), timeout=SECONDS) != pid)
    except errors.ActorUnavailable:
        return False


def test_at_an_interval_no_more_than_that_is_lost(session: Any) -> None:
    interval = 0.3
    ledger = shoal.remote(durable=True, checkpoint_interval_s=interval)(Ledger).remote()
    began = time.monotonic()
    added = 0
    when = []
    while time.monotonic() - began < 4 * interval:
        shoal.get(ledger.add.remote("a", added), timeout=SECONDS)
        added += 1
        when.append(time.monotonic())
    pid = shoal.get(ledger.pid.remote(), timeout=SECONDS)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    eventually(lambda: is_new(ledger, pid), "it is back", SECONDS)
    kept = shoal.get(ledger.all.remote(), timeout=SECONDS)
    assert kept == [("a", number) for number in range(len(kept))]
    slack = 2.0  # the machine may be slow; without any saving all of them would be lost
    assert len(kept) >= sum(moment < killed - interval - slack for moment in when)
    assert len(kept) > 0


def test_a_quiet_actor_is_saved_too(session: Any) -> None:
    ledger = shoal.remote(durable=True, checkpoint_interval_s=0.1)(Ledger).remote()
    shoal.get([ledger.add.remote("a", number) for number in range(10)], timeout=SECONDS)
    pid = shoal.get(ledger.pid.remote(), timeout=SECONDS)
    eventually(lambda: last_save_is_quiet(ledger), "the last change is saved", SECONDS)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_new(ledger, pid), "it is back", SECONDS)
    assert len(shoal.get(ledger.all.remote(), timeout=SECONDS)) == 10


def kept_states() -> list[dict[str, Any]]:
    """What the head keeps, as `shoal status` asks for it."""
    from shoal.interfaces.current import current

    found: list[dict[str, Any]] = current.engine.client.request("durable_actors")  # type: ignore[union-attr]
    return found


def last_save_is_quiet(actor: Any) -> bool:
    (kept,) = kept_states()
    return time.time() - kept["saved"] > 0.5


def test_states_of_many_pieces_come_back_and_too_large_ones_are_told(session: Any) -> None:
    @shoal.remote(durable=True, exactly_once=True)
    class Large:
        def __init__(self) -> None:
            self.data = np.zeros(0, dtype=np.uint8)

        def set(self, megabytes: int, value: int) -> int:
            self.data = np.full(megabytes << 20, value, dtype=np.uint8)
            return os.getpid()

        def get(self) -> tuple[int, int, int]:
            return len(self.data), int(self.data[-1]), os.getpid()

    large = Large.remote()
    pid = shoal.get(large.set.remote(25, 7), timeout=SECONDS)
    os.kill(pid, signal.SIGKILL)
    size, value, again = shoal.get(large.get.remote(), timeout=SECONDS)
    assert (size, value) == (25 << 20, 7)
    assert again != pid
    with pytest.raises(errors.StateNotSaved, match="durable_state_max_bytes allows 268,435,456"):
        shoal.get(large.set.remote(260, 8), timeout=SECONDS)
    assert shoal.get(large.get.remote(), timeout=SECONDS)[:2] == (25 << 20, 7)


def test_a_result_with_references_is_answered_unless_the_process_is_gone(session: Any) -> None:
    @shoal.remote(durable=True, exactly_once=True)
    class Giver:
        def give(self) -> list[Any]:
            return [shoal.put("inside")]

    giver = Giver.remote()
    (ref,) = shoal.get(giver.give.remote(), timeout=SECONDS)
    assert shoal.get(ref, timeout=SECONDS) == "inside"


def test_exit_actor_owes_no_answers(session: Any) -> None:
    @shoal.remote(durable=True, exactly_once=True)
    class Leaver:
        def stay(self, number: int) -> int:
            return number

        def leave(self) -> None:
            shoal.exit_actor()

    leaver = Leaver.remote()
    refs = [leaver.stay.remote(number) for number in range(100)]
    last = leaver.leave.remote()
    assert shoal.get(refs, timeout=SECONDS) == list(range(100))
    with pytest.raises(errors.ActorDied):
        shoal.get(last, timeout=SECONDS)
    eventually(lambda: kept_states() == [], "nothing is kept of it")


def test_nothing_is_kept_of_the_dead_and_the_record_of_calls_stays_small(session: Any) -> None:
    ledger = shoal.remote(durable=True, exactly_once=True)(Silent).remote()
    for _ in range(20):
        shoal.get([ledger.use.remote() for _ in range(200)], timeout=SECONDS)
    shoal.get(ledger.use.remote(), timeout=SECONDS)
    (kept,) = kept_states()
    assert kept["size"] < 20_000, "answers that were had are still kept"
    assert kept["restored"] == 0
    del ledger
    eventually(lambda: kept_states() == [], "nothing is kept of it")


class Silent:
    def use(self) -> str:
        return "x" * 50


def test_what_was_restored_is_told(session: Any) -> None:
    ledger = once.options(name="told").remote()
    pid = shoal.get(ledger.pid.remote(), timeout=SECONDS)
    before = time.time()
    os.kill(pid, signal.SIGKILL)
    shoal.get(ledger.add.remote("a", 1), timeout=SECONDS)
    (kept,) = kept_states()
    assert kept["name"] == "told"
    assert kept["restarts"] == 1
    assert kept["restored"] >= before >= kept["restored_from"] > 0


def test_an_error_in_restore_is_a_failed_constructor(session: Any) -> None:
    @shoal.remote(durable=True, exactly_once=True)
    class Broken:
        def checkpoint(self) -> int:
            return 5

        def restore(self, value: int) -> None:
            raise RuntimeError(f"cannot use {value}")

        def pid(self) -> int:
            return os.getpid()

    broken = Broken.remote()
    os.kill(shoal.get(broken.pid.remote(), timeout=SECONDS), signal.SIGKILL)
    with pytest.raises(errors.ActorDied, match="cannot use 5"):
        shoal.get(broken.pid.remote(), timeout=SECONDS)


class Pages:
    """A state of several pieces, in which every byte must be of the same save."""

    def __init__(self) -> None:
        self.count = 0
        self.page = np.zeros(3 << 20, dtype=np.uint8)

    def turn(self) -> tuple[int, bool]:
        is_whole = bool((self.page == self.count % 256).all())
        self.count += 1
        self.page = np.full((2 + self.count % 3) << 20, self.count % 256, dtype=np.uint8)
        return self.count, is_whole

    def pid(self) -> int:
        return os.getpid()


def test_a_process_that_dies_in_the_middle_of_a_save_leaves_the_last_state_whole(session: Any) -> None:
    pages = shoal.remote(durable=True, exactly_once=True)(Pages).remote()
    with Assassin(pages, seed=8) as assassin:
        for turn in range(1, 2000):
            assert shoal.get(pages.turn.remote(), timeout=SECONDS) == (turn, True)
            if assassin.killed >= 8:
                break
    assert assassin.killed >= 8


def test_a_metadata_store_that_is_away_is_waited_for() -> None:
    with shoal.init(engine="native", num_cpus=1, num_gpus=0, metadata_options={"timeout": 0}) as context:
        ledger = once.remote()
        assert shoal.get(ledger.add.remote("a", 0), timeout=SECONDS) == 1
        other = sqlite3.connect(os.path.join(context["session_dir"], "metadata.db"), isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")  # every write of the head fails from now on
            refs = [ledger.add.remote("a", number) for number in range(1, 50)]
            assert shoal.wait(refs, num_returns=1, timeout=0.5)[0] == []
            other.execute("COMMIT")
        finally:
            other.close()
        assert shoal.get(refs, timeout=SECONDS) == list(range(2, 51))


def test_retry_exceptions_makes_another_call(session: Any) -> None:
    @shoal.remote(durable=True, exactly_once=True)
    class Flaky:
        def __init__(self) -> None:
            self.tries = 0

        @shoal.method(retry_exceptions=True)
        def third_time(self) -> int:
            self.tries += 1
            if self.tries < 3:
                raise RuntimeError(f"try {self.tries}")
            return self.tries

    flaky = Flaky.remote()
    answers = shoal.get([flaky.third_time.remote() for _ in range(3)], timeout=SECONDS)
    assert sorted(answers) == [3, 4, 5], "a new try comes after the calls that were sent before it"


def test_generators_of_durable_actors_stream(session: Any) -> None:
    @shoal.remote(durable=True, checkpoint_interval_s=0)
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def items(self, number: int) -> Any:
            for _ in range(number):
                self.count += 1
                yield self.count

        def pid(self) -> int:
            return os.getpid()

    counter = Counter.remote()
    assert [shoal.get(ref, timeout=SECONDS) for ref in counter.items.remote(5)] == [1, 2, 3, 4, 5]
    pid = shoal.get(counter.pid.remote(), timeout=SECONDS)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_new(counter, pid), "it is back", SECONDS)
    assert [shoal.get(ref, timeout=SECONDS) for ref in counter.items.remote(2)] == [6, 7]


def test_handles_without_a_lifetime_may_be_in_a_state(session: Any) -> None:
    @shoal.remote(durable=True, exactly_once=True)
    class Holder:
        def hold(self, name: str) -> None:
            self.other = shoal.get_actor(name)

        def ask(self) -> int:
            count: int = shoal.get(self.other.add.remote("holder", 1))
            return count

        def pid(self) -> int:
            return os.getpid()

    ledger = once.options(name="held").remote()
    holder = Holder.remote()
    shoal.get(holder.hold.remote("held"), timeout=SECONDS)
    os.kill(shoal.get(holder.pid.remote(), timeout=SECONDS), signal.SIGKILL)
    assert shoal.get(holder.ask.remote(), timeout=SECONDS) == 1
    assert shoal.get(ledger.all.remote(), timeout=SECONDS) == [("holder", 1)]


def test_what_was_cancelled_before_it_began_was_not_applied(session: Any, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")

    @shoal.remote(durable=True, exactly_once=True)
    class Slow:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def wait(self, gate: str) -> None:
            eventually(lambda: os.path.exists(gate), gate, SECONDS)

        def add(self, number: int) -> list[int]:
            self.seen.append(number)
            return self.seen

    slow = Slow.remote()
    waiting = slow.wait.remote(gate)
    first, second = slow.add.remote(1), slow.add.remote(2)
    shoal.cancel(first)
    Path(gate).touch()
    with pytest.raises(errors.TaskCancelled):
        shoal.get(first, timeout=SECONDS)
    assert shoal.get([waiting, second], timeout=SECONDS) == [None, [2]]


def set_bound(instance: Any, name: str, value: int) -> None:
    """Make a bound of the record of calls small, in the actor's own process."""
    from shoal.interfaces.current import current

    worker: Any = current.engine._worker  # type: ignore[union-attr]
    setattr(worker.host.durable._applied, name, value)


def test_a_caller_with_many_answers_on_the_way_waits_and_loses_none(session: Any) -> None:
    ledger = once.remote()
    shoal.get(ledger.__shoal_call__.remote(set_bound, "_most_answers", 150), timeout=SECONDS)
    other = Caller.remote("other", ledger)
    theirs = other.call.remote(100, 10)
    refs = [ledger.add.remote("mine", number) for number in range(3000)]
    shoal.get([*refs, theirs], timeout=SECONDS)
    entries = shoal.get(ledger.all.remote(), timeout=SECONDS)
    assert [number for name, number in entries if name == "mine"] == list(range(3000))
    assert len(entries) == 3100


def test_more_callers_than_can_be_remembered_are_refused(session: Any) -> None:
    ledger = once.remote()
    shoal.get(ledger.__shoal_call__.remote(set_bound, "_most_callers", 1), timeout=SECONDS)
    with pytest.raises(errors.ActorUnavailable, match="was not applied"):
        shoal.get(Caller.remote("other", ledger).call.remote(1, 1), timeout=SECONDS)
    assert shoal.get(ledger.add.remote("mine", 0), timeout=SECONDS) == 1


def die_after_next_save(instance: Any) -> None:
    """Have the actor's process end between the save of the next call and its answer."""
    from shoal.interfaces.current import current

    worker: Any = current.engine._worker  # type: ignore[union-attr]
    durable = worker.host.durable
    answer = durable._on_saved
    saves = []

    def saved() -> None:
        saves.append(True)
        if len(saves) == 2:  # the first is that of this call itself
            os.kill(os.getpid(), signal.SIGKILL)
        answer()

    durable._on_saved = saved


def test_a_process_that_dies_between_the_save_and_the_answer_gives_the_answer_later(session: Any) -> None:
    ledger = once.remote()
    for number, (method, options) in enumerate(
        [("add", {}), ("large", {}), ("two", {"num_returns": 2}), ("fail", {}), ("nothing", {})]
    ):
        pid = shoal.get(ledger.pid.remote(), timeout=SECONDS)
        shoal.get(ledger.__shoal_call__.remote(die_after_next_save), timeout=SECONDS)
        call = getattr(ledger, method).options(**options)
        if method == "add":
            assert shoal.get(call.remote("add", number), timeout=SECONDS) == 1
        elif method == "large":
            assert int(shoal.get(call.remote(number), timeout=SECONDS).sum()) == number * 200_000
        elif method == "two":
            one, two = shoal.get(call.remote(number), timeout=SECONDS)
            assert (one, int(two.sum())) == (number, number * 200_000)
        elif method == "fail":
            with pytest.raises(KeyError):
                shoal.get(call.remote(number), timeout=SECONDS)
        else:
            assert shoal.get(call.remote(number), timeout=SECONDS) is None
        assert shoal.get(ledger.pid.remote(), timeout=SECONDS) != pid
    entries = shoal.get(ledger.all.remote(), timeout=SECONDS)
    assert entries == [("add", 0), ("large", 1), ("two", 2), ("fail", 3), ("nothing", 4)]


def test_a_result_with_references_of_a_process_that_is_gone_says_so(session: Any) -> None:
    @shoal.remote(durable=True, exactly_once=True)
    class Giver:
        def __init__(self) -> None:
            self.given = 0

        def give(self) -> list[Any]:
            self.given += 1
            return [shoal.put("inside")]

        def count(self) -> int:
            return self.given

    giver = Giver.remote()
    shoal.get(giver.__shoal_call__.remote(die_after_next_save), timeout=SECONDS)
    with pytest.raises(errors.ActorError, match="was applied, once, but its result is gone"):
        shoal.get(giver.give.remote(), timeout=SECONDS)
    assert shoal.get(giver.count.remote(), timeout=SECONDS) == 1
