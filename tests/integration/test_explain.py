"""Why something has not happened yet: each reason, in words that say what to look at."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import assert_nothing_left, eventually

import shoal
from shoal import errors
from shoal.death import Cause

pytestmark = pytest.mark.processes
SECONDS = 30


@pytest.fixture
def gate(session: Any, tmp_path: Path) -> Iterator[Path]:
    """A file that tasks wait for; it exists at the end in any case, so that none waits on."""
    path = tmp_path / "gate"
    yield path
    path.touch()


@shoal.remote
def pass_through(path: str, mark: str = "") -> str:
    if mark:
        Path(mark).touch()
    eventually(lambda: os.path.exists(path), path, SECONDS)
    return path


@shoal.remote
def take(value: Any) -> Any:
    return value


@shoal.remote
class Door:
    def __init__(self, path: str = "") -> None:
        if path:
            eventually(lambda: os.path.exists(path), path, SECONDS)

    def pass_through(self, path: str, mark: str = "") -> str:
        if mark:
            Path(mark).touch()
        eventually(lambda: os.path.exists(path), path, SECONDS)
        return path

    def pid(self) -> int:
        return os.getpid()

    def call_myself(self, me: list[Any]) -> Any:
        return shoal.get(me[0].pid.remote(), timeout=0.2)

    def why(self, me: list[Any]) -> str:
        return str(shoal.explain(me[0].pid.remote()))


def explained(ref: Any, *parts: str) -> str:
    """Wait until the explanation holds all these parts; return it."""
    said = [""]

    def says() -> bool:
        said[0] = str(shoal.explain(ref))
        return all(part in said[0] for part in parts)

    try:
        eventually(says, "", SECONDS)
    except AssertionError:
        raise AssertionError(f"{parts} are not all in: {said[0]}") from None
    return said[0]


def test_ready_values_and_errors_say_so(session: Any) -> None:
    assert "ready" in str(shoal.explain(shoal.put(1)))
    bad = take.options(num_returns=2).remote(5)[0]
    shoal.wait([bad], timeout=SECONDS)
    assert "error" in str(shoal.explain(bad))


def test_a_running_task_names_its_worker(gate: Path, tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    ref = pass_through.remote(str(gate), str(mark))
    eventually(mark.exists, "it runs")
    explained(ref, "pass_through", "is running in worker", "attempt 1")


def test_a_queued_task_says_behind_what_it_waits(gate: Path) -> None:
    refs = [pass_through.remote(str(gate)) for _ in range(6)]
    explained(refs[-1], "pass_through", "behind", "waits for resources", "free now")


def test_a_demand_that_no_node_meets_says_by_how_much(session: Any) -> None:
    ref = take.options(num_cpus=7, resources={"unicorn": 1}).remote(1)
    text = explained(ref, "no node can ever run it", "7 CPU", "unicorn")
    assert "has is 2" in text, "how much there is"
    shoal.cancel(ref)


def test_a_task_names_the_argument_that_it_waits_for_and_why_that_is_late(gate: Path, tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    slow = pass_through.remote(str(gate), str(mark))
    eventually(mark.exists, "it runs")
    middle = take.remote(slow)
    last = take.remote(middle)
    text = explained(
        last, "take waits for 1 of its arguments", middle.hex(), slow.hex(), "is running in worker"
    )
    assert text.index(middle.hex()) < text.index(slow.hex()), "from the nearest to the root"
    gate.touch()
    assert shoal.get(last, timeout=SECONDS) == str(gate)


def test_a_borrowed_object_is_explained_by_its_owner(gate: Path, tmp_path: Path) -> None:
    @shoal.remote
    def ask(refs: list[Any]) -> str:
        return str(shoal.explain(refs[0]))

    mark = tmp_path / "runs"
    slow = pass_through.remote(str(gate), str(mark))
    eventually(mark.exists, "it runs")
    text = shoal.get(ask.remote([slow]), timeout=SECONDS)
    assert "its owner is process" in text
    assert "pass_through is running" in text


# Actors


def test_an_actor_that_waits_for_room_says_for_what(session: Any) -> None:
    door = Door.options(num_cpus=2).remote()
    shoal.get(door.pid.remote(), timeout=SECONDS)
    second = Door.options(num_cpus=1).remote()
    ref = second.pid.remote()
    explained(ref, "Door is PENDING", "waits for resources", "CPU")
    shoal.kill(door)
    assert shoal.get(ref, timeout=SECONDS) > 0


def test_an_actor_whose_constructor_runs_says_so(gate: Path) -> None:
    ref = Door.remote(str(gate)).pid.remote()
    explained(ref, "Door is PENDING", "its constructor is running")


def test_a_call_behind_others_says_behind_how_many(gate: Path, tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    door = Door.remote()
    first = door.pass_through.remote(str(gate), str(mark))
    eventually(mark.exists, "it runs")
    ref = [door.pid.remote() for _ in range(3)][-1]
    explained(ref, "Door.pid was sent to actor Door", "behind 3 calls")
    explained(first, "Door.pass_through was sent to actor Door", "runs there")


def test_a_restarting_actor_says_how_it_died(gate: Path) -> None:
    door = Door.options(max_restarts=-1, max_task_retries=-1, num_cpus=2).remote()
    pid = shoal.get(door.pid.remote(), timeout=SECONDS)
    blocker = pass_through.options(num_cpus=2).remote(str(gate))  # takes the CPUs when the actor loses them
    os.kill(pid, signal.SIGKILL)
    ref = door.pid.remote()
    text = explained(ref, "Door is RESTARTING", "SIGKILL")
    assert str(pid) in text
    gate.touch()
    assert shoal.get([ref, blocker], timeout=SECONDS)[0] != pid


def test_a_dead_actor_is_explained_by_its_certificate(session: Any) -> None:
    door = Door.remote()
    pid = shoal.get(door.pid.remote(), timeout=SECONDS)
    shoal.kill(door)
    with pytest.raises(errors.ActorDied) as caught:
        shoal.get(door.pid.remote(), timeout=SECONDS)
    certificate = caught.value.cause
    assert certificate is not None
    assert certificate.cause is Cause.KILLED_BY_USER
    text = str(caught.value)
    assert all(part in text for part in ("Door", "killed by the program", str(pid), "kill()"))
    assert "DEAD" in explained(door, "Door is DEAD", "killed by the program")


def test_a_serial_actor_that_waits_for_itself_is_told_of_the_cycle(session: Any) -> None:
    door = Door.remote()
    text = shoal.get(door.why.remote([door]), timeout=SECONDS)
    assert "cycle" in text
    assert "max_concurrency" in text
    with pytest.raises(errors.GetTimeout, match="cycle"):
        shoal.get(door.call_myself.remote([door]), timeout=SECONDS)


# By itself


def test_a_long_get_explains_itself_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = shoal.init(engine="native", num_cpus=1, num_gpus=0, get_warning_seconds=0.1)
    try:
        ref = take.options(num_cpus=5).remote(1)
        with caplog.at_level(logging.WARNING, "shoal"), pytest.raises(errors.GetTimeout):
            shoal.get(ref, timeout=1)
        told = [record.getMessage() for record in caplog.records if "get() has waited" in record.getMessage()]
        assert len(told) == 1
        assert "no node can ever run it" in told[0]
        shoal.cancel(ref)
        caplog.clear()
        assert shoal.get(take.remote(2), timeout=SECONDS) == 2
        assert not [record for record in caplog.records if "get() has waited" in record.getMessage()]
    finally:
        shoal.shutdown()
    assert_nothing_left(context["session_dir"], context["session_name"])


def test_a_get_that_gives_up_says_what_is_missing_and_why(gate: Path) -> None:
    refs = [shoal.put(1), pass_through.remote(str(gate)), pass_through.remote(str(gate))]
    with pytest.raises(errors.GetTimeout) as caught:
        shoal.get(refs, timeout=0.3)
    text = str(caught.value)
    assert "2 of" in text
    assert "pass_through" in text
    assert refs[1].hex() in text


# Certificates


def test_a_crashed_tasks_certificate_reads_as_a_report(session: Any) -> None:
    @shoal.remote(max_retries=1)
    def crash() -> None:
        sys.stdout.write("the last thing I did\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(errors.WorkerCrashed) as caught:
        shoal.get(crash.remote(), timeout=SECONDS)
    certificate = caught.value.cause
    assert certificate is not None
    assert (certificate.signal, certificate.attempts) == (signal.SIGSEGV, 2)
    lines = str(caught.value).split("\n")
    assert "crash" in lines[0]
    assert any("SIGSEGV" in line for line in lines)
    assert any(f"pid {certificate.process}" in line for line in lines)
    assert any("attempts: 2" in line for line in lines)
    assert any("| the last thing I did" in line for line in lines)


def test_the_constructors_error_is_the_reason_of_the_actors_death(session: Any) -> None:
    @shoal.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no such luck")

        def get(self) -> int:
            return 1

    with pytest.raises(Exception, match="no such luck") as caught:
        shoal.get(Broken.remote().get.remote(), timeout=SECONDS)
    assert isinstance(caught.value, (errors.ActorDied, errors.TaskError))
    assert "Broken" in str(caught.value)
