"""The loop that waiting threads share: one leads, the others follow, a background thread serves when nobody waits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from shoal.native.transport.reactor import Reactor

SECONDS = 20


class Pipe:
    """A pipe that the loop watches; `seen` is what was read."""

    def __init__(self, reactor: Reactor) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._reactor = reactor
        self.closed = False
        self.seen = b""
        self.threads: list[int] = []
        with reactor.lock:
            reactor.watch(self)

    def fileno(self) -> int:
        return self._read

    def on_readable(self) -> None:
        assert self._reactor.lock._is_owned(), "callbacks run under the lock"  # type: ignore[attr-defined]
        self.threads.append(threading.get_ident())
        self.seen += os.read(self._read, 1_000)

    def write(self, data: bytes) -> None:
        os.write(self._write, data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._reactor.unwatch(self._read)
            os.close(self._read)
            os.close(self._write)


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


@pytest.fixture
def pipe(reactor: Reactor) -> Iterator[Pipe]:
    made = Pipe(reactor)
    yield made
    made.close()


def within(seconds: float = SECONDS) -> float:
    return time.monotonic() + seconds


def run_all(works: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own; raise what the first of them raised."""
    failures: list[BaseException] = []

    def guard(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guard, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a thread waits for ever"
    if failures:
        raise failures[0]


def test_the_waiting_thread_reads_for_itself(reactor: Reactor, pipe: Pipe) -> None:
    pipe.write(b"x")
    assert reactor.run_until(lambda: pipe.seen == b"x", within())
    assert pipe.threads == [threading.get_ident()]


def test_what_is_true_already_needs_no_waiting(reactor: Reactor) -> None:
    assert reactor.run_until(lambda: True)
    assert reactor.run_until(lambda: True, time.monotonic() - 1)


def test_a_deadline_that_passes_is_told(reactor: Reactor, pipe: Pipe) -> None:
    assert not reactor.run_until(lambda: False, time.monotonic())
    assert not reactor.run_until(lambda: False, within(0.02))
    pipe.write(b"x")
    assert reactor.run_until(lambda: bool(pipe.seen), time.monotonic()), "what is there is looked at even so"


def test_each_of_many_waiting_threads_gets_what_it_waits_for(reactor: Reactor) -> None:
    pipes = [Pipe(reactor) for _ in range(8)]
    barrier = threading.Barrier(9)

    def wait_for(pipe: Pipe) -> None:
        barrier.wait(SECONDS)
        assert reactor.run_until(lambda: pipe.seen == b"done", within())

    def write() -> None:
        barrier.wait(SECONDS)
        for pipe in pipes:
            pipe.write(b"done")

    try:
        run_all([*[lambda pipe=pipe: wait_for(pipe) for pipe in pipes], write])
    finally:
        for pipe in pipes:
            pipe.close()


def test_the_lead_goes_on_when_the_leader_has_what_it_wants(reactor: Reactor) -> None:
    """Each thread waits for what the one before it writes when it is done: the lead passes through all of them."""
    pipes = [Pipe(reactor) for _ in range(5)]

    def link(number: int) -> None:
        assert reactor.run_until(lambda: pipes[number].seen == b"x", within())
        if number + 1 < len(pipes):
            pipes[number + 1].write(b"x")

    try:
        pipes[0].write(b"x")
        run_all([lambda number=number: link(number) for number in range(len(pipes))])
    finally:
        for pipe in pipes:
            pipe.close()


def test_followers_keep_their_deadlines_while_another_leads(reactor: Reactor, pipe: Pipe) -> None:
    expired = threading.Event()

    def impatient() -> None:
        assert not reactor.run_until(lambda: False, within(0.05))
        expired.set()
        pipe.write(b"x")

    def patient() -> None:
        assert reactor.run_until(lambda: pipe.seen == b"x", within())
        assert expired.is_set()

    run_all([patient, impatient, patient])


def test_an_error_in_a_condition_gives_the_lead_away(reactor: Reactor, pipe: Pipe) -> None:
    def broken() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reactor.run_until(broken)
    pipe.write(b"x")
    assert reactor.run_until(lambda: pipe.seen == b"x", within())


# Timers


def test_timers_run_in_order_and_under_the_lock(reactor: Reactor) -> None:
    ran: list[str] = []

    def note(name: str) -> None:
        assert reactor.lock._is_owned()  # type: ignore[attr-defined]
        ran.append(name)

    with reactor.lock:
        reactor.call_later(0.02, lambda: note("later"))
        reactor.call_later(0.0, lambda: note("now"))
        reactor.call_later(0.01, lambda: note("soon"))
        reactor.call_later(0.0, lambda: note("then"))
    assert reactor.run_until(lambda: len(ran) == 4, within())
    assert ran == ["now", "then", "soon", "later"]


def test_a_timer_may_set_a_timer(reactor: Reactor) -> None:
    ran: list[int] = []

    def again() -> None:
        ran.append(len(ran))
        if len(ran) < 3:
            reactor.call_later(0, again)

    with reactor.lock:
        reactor.call_later(0, again)
    assert reactor.run_until(lambda: len(ran) == 3, within())


# Without the lock


def test_what_must_not_hold_the_lock_does_not(reactor: Reactor) -> None:
    held: list[bool] = []
    reactor.call_soon_unlocked(lambda: held.append(reactor.lock._is_owned()))  # type: ignore[attr-defined]
    assert reactor.run_until(lambda: bool(held), within())
    assert held == [False]


def test_a_callback_that_raises_is_logged_and_the_next_one_runs(
    reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []

    def broken() -> None:
        raise ValueError("of the user's making")

    reactor.call_soon_unlocked(broken)
    reactor.call_soon_unlocked(lambda: ran.append(1))
    assert reactor.run_until(lambda: bool(ran), within())
    assert "of the user's making" in caplog.text


@pytest.mark.parametrize("background", [False, True])
def test_a_callback_may_wait_itself(reactor: Reactor, pipe: Pipe, background: bool) -> None:
    """A future's callback that calls get(): it runs in the thread that leads, so nobody else would read."""
    got: list[bool] = []

    def nested() -> None:
        pipe.write(b"x")
        got.append(reactor.run_until(lambda: pipe.seen == b"x", within(5)))

    if background:
        reactor.start_background("test-io")
        reactor.call_soon_unlocked(nested)
        eventually(lambda: bool(got))
    else:
        reactor.call_soon_unlocked(nested)
        assert reactor.run_until(lambda: bool(got), within())
    assert got == [True]


def test_a_callback_may_close(reactor: Reactor) -> None:
    reactor.call_soon_unlocked(reactor.close)
    assert not reactor.run_until(lambda: False, within())
    assert reactor.closed


# The background thread


@pytest.fixture
def served(reactor: Reactor) -> Reactor:
    reactor.start_background("test-io")
    return reactor


def eventually(condition: Callable[[], bool]) -> None:
    deadline = within()
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_it_reads_while_nobody_waits(served: Reactor, pipe: Pipe) -> None:
    for number in range(1, 4):
        pipe.write(b"x")
        eventually(lambda number=number: len(pipe.seen) == number)  # type: ignore[misc]
    assert threading.get_ident() not in pipe.threads


def test_it_does_not_pause_while_a_callback_is_promised(
    reactor: Reactor, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output makes it step back for the thread that will wait; for a future's callback nobody does."""
    monkeypatch.setattr("shoal.native.transport.reactor._WATCH_SECONDS", 600.0)
    reactor.start_background("test-io")
    with reactor.lock:
        reactor.promise()
    for number in range(1, 4):
        reactor.nudge()
        pipe.write(b"x")
        eventually(lambda number=number: len(pipe.seen) == number)  # type: ignore[misc]
    reactor.keep_promise()


def test_it_runs_timers_and_unlocked_callbacks(served: Reactor) -> None:
    ran: list[str] = []
    with served.lock:
        served.call_later(0.01, lambda: ran.append("timer"))
    served.call_soon_unlocked(lambda: ran.append("callback"))
    eventually(lambda: sorted(ran) == ["callback", "timer"])


def test_it_sends_what_was_gathered(served: Reactor) -> None:
    gathered: list[int] = []
    served.gatherers.append(lambda: gathered.append(1))
    for number in range(1, 4):
        with served.lock:
            served.pending = True
        served.nudge()
        eventually(lambda number=number: len(gathered) >= number)  # type: ignore[misc]


def test_it_survives_a_fault_and_says_so(
    served: Reactor, pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ValueError("a fault")

    with served.lock:
        served.call_later(0, broken)
    eventually(lambda: "a fault" in caplog.text)
    pipe.write(b"x")
    eventually(lambda: pipe.seen == b"x")


def test_threads_that_come_and_go_beside_it_get_everything(served: Reactor) -> None:
    pipes = [Pipe(served) for _ in range(4)]

    def ask(pipe: Pipe) -> None:
        for number in range(1, 100):
            pipe.write(b"x")
            assert served.run_until(lambda number=number: len(pipe.seen) >= number, within())  # type: ignore[misc]

    try:
        run_all([lambda pipe=pipe: ask(pipe) for pipe in pipes])
    finally:
        for pipe in pipes:
            pipe.close()


# The end


def test_closing_wakes_everyone_who_waits(reactor: Reactor) -> None:
    reactor.start_background("test-io")
    waiting = threading.Barrier(4)
    results: list[bool] = []

    def wait() -> None:
        waiting.wait(SECONDS)
        results.append(reactor.run_until(lambda: False or reactor.closed, within()))

    def close() -> None:
        waiting.wait(SECONDS)
        reactor.close()

    run_all([wait, wait, wait, close])
    assert results == [True] * 3
    reactor.close()
    assert not reactor.run_until(lambda: False), "after the end nobody waits"


def test_closing_leaves_no_descriptor_and_no_thread() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(5):
        reactor = Reactor()
        reactor.start_background("test-io-to-end")
        reactor.close()
    assert set(os.listdir("/proc/self/fd")) <= before
    assert not [thread for thread in threading.enumerate() if thread.name == "test-io-to-end"]
