"""Calls of a provider that hangs, fails or comes back late: answered in time, in order, and once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from shoal.autoscaler.calls import ProviderCalls
from shoal.errors import NodeProviderError
from shoal.interfaces.nodes import Machine, NodeProvider, NodeStart, NodeType

SECONDS = 20


class Slow(NodeProvider):
    """A provider whose list waits for a gate."""

    name: ClassVar[str] = "slow"

    def __init__(self, cluster: str, start: NodeStart, options: Mapping[str, Any] | None = None) -> None:
        self.gate: threading.Event = (options or {})["gate"]

    def check_type(self, node_type: NodeType) -> None: ...

    def launch(self, node_type: NodeType, count: int, key: str) -> list[Machine]:
        return []

    def machines(self) -> list[Machine]:
        assert self.gate.wait(SECONDS)
        return []

    def describe(self, machine_id: str) -> Machine:
        raise KeyError(machine_id)

    def terminate(self, machine_ids: Sequence[str]) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()
    deadline = time.monotonic() + SECONDS
    while any(thread.name == "shoal-provider" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "its threads do not end"
        time.sleep(0.01)


class Told:
    """What was answered."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, Any]] = []

    def to(self, name: str) -> Callable[[Any, Exception | None], None]:
        return lambda value, error: self.answers.append((name, error if error is not None else value))


def make(gate: threading.Event, seconds: float) -> ProviderCalls:
    start = NodeStart(head_address="", credentials_file="")
    return ProviderCalls(lambda: Slow("c", start, {"gate": gate}), seconds)


def collect(calls: ProviderCalls) -> None:
    deadline = time.monotonic() + SECONDS
    while calls.busy:
        assert time.monotonic() < deadline
        calls.collect(0.02)


def test_answers_come_in_order(gate: threading.Event) -> None:
    gate.set()
    calls, told = make(gate, 5), Told()
    calls.ask("list", lambda provider: provider.machines(), told.to("list"))
    calls.ask("one", lambda provider: 1, told.to("one"))
    calls.ask("fail", lambda provider: provider.describe("x"), told.to("fail"))
    collect(calls)
    names = [name for name, _ in told.answers]
    assert names == ["list", "one", "fail"]
    assert told.answers[1][1] == 1
    assert isinstance(told.answers[2][1], KeyError)
    calls.close(SECONDS)


def test_one_that_hangs_is_given_up_and_the_next_goes_on(gate: threading.Event) -> None:
    calls, told = make(gate, 0.2), Told()
    calls.ask("list", lambda provider: provider.machines(), told.to("list"))
    calls.ask("one", lambda provider: 1, told.to("one"))
    begun = time.monotonic()
    collect(calls)
    assert time.monotonic() - begun < SECONDS / 2
    (first, error), second = told.answers
    assert first == "list"
    assert isinstance(error, NodeProviderError)
    assert "no answer within 0.2 s" in error.why
    assert second == ("one", 1)
    gate.set()  # it comes back late: nobody hears it, and what it had in its queue is not done twice
    done: list[int] = []
    calls.ask("two", lambda provider: done.append(2), told.to("two"))
    collect(calls)
    assert done == [2]
    assert len(told.answers) == 3
    calls.close(SECONDS)


def test_threads_that_hang_are_bounded(gate: threading.Event) -> None:
    calls, told = make(gate, 0.02), Told()
    for number in range(12):
        calls.ask(f"list {number}", lambda provider: provider.machines(), told.to("list"))
        collect(calls)
    assert len(told.answers) == 12
    assert all(isinstance(error, NodeProviderError) for _, error in told.answers)
    assert sum(thread.name == "shoal-provider" for thread in threading.enumerate()) <= 8
    gate.set()
    deadline = time.monotonic() + SECONDS
    told.answers.clear()
    while not told.answers or isinstance(told.answers[-1][1], Exception):  # it recovers by itself
        assert time.monotonic() < deadline
        calls.ask("one", lambda provider: 1, told.to("one"))
        collect(calls)
    calls.close(SECONDS)


def test_a_provider_that_cannot_be_made_is_an_answer(gate: threading.Event) -> None:
    def fail() -> NodeProvider:
        raise NodeProviderError("p", "begin", "no library", True)

    calls, told = ProviderCalls(fail, 5), Told()
    calls.ask("list", lambda provider: provider.machines(), told.to("list"))
    collect(calls)
    assert told.answers[0][1].why == "no library"
    calls.close(SECONDS)
