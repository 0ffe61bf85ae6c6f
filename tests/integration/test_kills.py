"""Whatever is killed: a clear error or the right answer, nothing left, nothing hung."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from leftovers import assert_nothing_left, eventually, processes_of

import shoal
from shoal import errors
from shoal.death import Cause

pytestmark = pytest.mark.processes
SECONDS = 30


@shoal.remote(max_retries=0)
def kill_myself() -> None:
    sys.stdout.write("these are my last words\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


@shoal.remote
def wait_for(path: str) -> int:
    eventually(lambda: os.path.exists(path), path, SECONDS)
    return os.getpid()


@shoal.remote
def write_and_wait(mine: str, gate: str) -> int:
    Path(mine).write_text(str(os.getpid()))
    eventually(lambda: os.path.exists(gate), gate, SECONDS)
    return os.getpid()


@shoal.remote
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    def pid(self) -> int:
        return os.getpid()

    def wait(self, gate: str) -> int:
        eventually(lambda: os.path.exists(gate), gate, SECONDS)
        return self.count


def test_a_worker_killed_in_mid_task_gives_a_death_certificate(session: Any) -> None:
    with pytest.raises(errors.WorkerCrashed) as caught:
        shoal.get(kill_myself.remote(), timeout=SECONDS)
    certificate = caught.value.cause
    assert certificate is not None
    assert certificate.signal == signal.SIGKILL
    assert certificate.name == kill_myself.__name__
    assert certificate.process > 0
    assert certificate.attempts == 1
    assert "these are my last words" in certificate.last_lines
    assert "SIGKILL" in str(caught.value)


class DiesWhenPickled:
    """Ends the process that pickles it, the first time."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        if not os.path.exists(self.mark):
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return str, (self.mark,)


def test_a_task_that_dies_between_storing_and_answering_can_store_its_results_again(
    session: Any, tmp_path: Path
) -> None:
    mark = str(tmp_path / "died")

    @shoal.remote(num_returns=2, max_retries=1)
    def two() -> tuple[bytes, DiesWhenPickled]:
        return bytes(300_000), DiesWhenPickled(mark)

    first, second = shoal.get(two.remote(), timeout=SECONDS)
    assert len(first) == 300_000
    assert second == mark


def test_a_killed_task_is_run_again_elsewhere(session: Any, tmp_path: Path) -> None:
    mine, gate = tmp_path / "pid", tmp_path / "gate"
    ref = write_and_wait.options(max_retries=1).remote(str(mine), str(gate))
    eventually(lambda: mine.exists() and bool(mine.read_text()), "the task runs")
    first = int(mine.read_text())
    os.kill(first, signal.SIGKILL)
    gate.touch()
    assert shoal.get(ref, timeout=SECONDS) != first


def test_calls_behind_a_killed_one_are_not_charged(session: Any) -> None:
    @shoal.remote(max_retries=0)
    def quick(number: int) -> int:
        return number

    shoal.get([quick.remote(i) for i in range(100)])  # many may wait at one worker from now on
    bad = kill_myself.remote()
    good = [quick.remote(i) for i in range(20)]
    assert shoal.get(good, timeout=SECONDS) == list(range(20))
    with pytest.raises(errors.WorkerCrashed):
        shoal.get(bad, timeout=SECONDS)


def test_a_killed_actor_says_how_it_died(session: Any) -> None:
    counter = Counter.remote()
    pid = shoal.get(counter.pid.remote(), timeout=SECONDS)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(errors.ActorDied) as caught:
        eventually(lambda: shoal.get(counter.add.remote(), timeout=SECONDS) < 0, "the actor is dead")
    certificate = caught.value.cause
    assert certificate is not None
    assert (certificate.process, certificate.signal) == (pid, signal.SIGKILL)


def test_a_killed_actor_restarts_and_is_called_again(session: Any) -> None:
    counter = Counter.options(max_restarts=1, max_task_retries=2).remote()
    pid = shoal.get(counter.pid.remote(), timeout=SECONDS)
    assert shoal.get(counter.add.remote(), timeout=SECONDS) == 1
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the process is gone")
    assert shoal.get(counter.add.remote(), timeout=SECONDS) == 1, "state is that of a new actor"
    os.kill(shoal.get(counter.pid.remote(), timeout=SECONDS), signal.SIGKILL)
    with pytest.raises(errors.ActorDied):
        shoal.get(counter.wait.remote("/nowhere"), timeout=SECONDS)


def test_a_call_in_flight_on_a_restarting_actor_is_unavailable(session: Any, tmp_path: Path) -> None:
    counter = Counter.options(max_restarts=-1).remote()
    pid = shoal.get(counter.pid.remote(), timeout=SECONDS)
    ref = counter.wait.remote(str(tmp_path / "never"))
    shoal.get(shoal.put(0))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(errors.ActorUnavailable):
        shoal.get(ref, timeout=SECONDS)
    assert shoal.get(counter.add.remote(), timeout=SECONDS) == 1


def test_the_owner_of_an_object_dies(session: Any) -> None:
    @shoal.remote
    class Owner:
        def make(self) -> list[Any]:
            @shoal.remote
            def never(path: str) -> None:
                eventually(lambda: os.path.exists(path), path, SECONDS)

            return [never.remote("/nowhere")]

        def pid(self) -> int:
            return os.getpid()

    owner = Owner.remote()
    [inner] = shoal.get(owner.make.remote(), timeout=SECONDS)
    os.kill(shoal.get(owner.pid.remote(), timeout=SECONDS), signal.SIGKILL)
    with pytest.raises(errors.OwnerDied):
        shoal.get(inner, timeout=SECONDS)


def test_a_lost_object_is_made_again(session: Any) -> None:
    @shoal.remote
    def make(size: int) -> bytes:
        return os.urandom(1) * size

    ref = make.remote(1_000_000)
    first = bytes(shoal.get(ref, timeout=SECONDS))
    assert len(first) == 1_000_000
    del first
    _lose(ref)
    assert len(shoal.get(ref, timeout=SECONDS)) == 1_000_000


def test_a_lost_put_object_is_lost(session: Any) -> None:
    ref = shoal.put(b"x" * 1_000_000)
    _lose(ref)
    with pytest.raises(errors.ObjectLost, match="put"):
        shoal.get(ref, timeout=SECONDS)


def _lose(ref: Any) -> None:
    """Delete an object's bytes behind everyone's back."""
    found = [path for path in Path("/dev/shm").glob("shoal-*/**/*") if ref.hex() in path.name]
    assert found, "the object is not in shared memory"
    for path in found:
        path.unlink()
    engine = ref.engine
    engine.client.store.delete(ref.binary())


def test_a_killed_daemon_ends_everything_with_a_clear_error(tmp_path: Path) -> None:
    context = shoal.init(engine="native", num_cpus=2, num_gpus=0)
    folder, name = context["session_dir"], context["session_name"]
    try:
        waiting = wait_for.remote(str(tmp_path / "never"))
        worker = Counter.remote()
        shoal.get(worker.pid.remote(), timeout=SECONDS)
        os.kill(_daemon_of(folder), signal.SIGKILL)
        with pytest.raises(errors.NodeDied):
            shoal.get(waiting, timeout=SECONDS)
        with pytest.raises((errors.NodeDied, errors.NotInitialized)):
            shoal.get(worker.add.remote(), timeout=SECONDS)
    finally:
        shoal.shutdown()
    assert_nothing_left(folder, name)


def _daemon_of(folder: str) -> int:
    for pid in processes_of(folder):
        status = Path(f"/proc/{pid}/status").read_text()
        if f"PPid:\t{os.getpid()}\n" in status:
            return pid
    raise AssertionError("no daemon")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_driver_leaves_nothing(tmp_path: Path, number: int) -> None:
    program = tmp_path / "driver.py"
    program.write_text(
        textwrap.dedent(
            """
            import time, shoal
            context = shoal.init(engine="native", num_cpus=2, num_gpus=0)

            @shoal.remote
            class Busy:
                def spin(self):
                    while True:
                        pass

            @shoal.remote
            def large():
                return b"x" * 5_000_000

            actor = Busy.remote()
            actor.spin.remote()
            ref = large.remote()
            assert len(shoal.get(ref)) == 5_000_000
            print(context["session_dir"], context["session_name"], flush=True)
            time.sleep(600)
            """
        )
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        folder, name = driver.stdout.readline().split()
        assert processes_of(folder)
        driver.send_signal(number)
        driver.wait(SECONDS)
    assert_nothing_left(folder, name)


def test_cancel_with_force_names_the_killer(session: Any, tmp_path: Path) -> None:
    mine = tmp_path / "pid"
    ref = write_and_wait.remote(str(mine), str(tmp_path / "never"))
    eventually(mine.exists, "the task runs")
    shoal.cancel(ref, force=True)
    with pytest.raises(errors.TaskCancelled) as caught:
        shoal.get(ref, timeout=SECONDS)
    assert caught.value.cause is not None
    assert caught.value.cause.cause is Cause.KILLED_BY_USER
