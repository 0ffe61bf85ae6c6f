"""Wrong inputs that need a session with settings of its own, or none: limits, environments, forks, ends of sessions."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import assert_nothing_left, eventually

import shoal
from shoal import errors

pytestmark = pytest.mark.processes
SECONDS = 30
MIB = 2**20

Start = Callable[..., Any]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a session with settings; it is ended and looked for leaks afterwards."""
    contexts = []

    def begin(**settings: Any) -> Any:
        context = shoal.init(**{"engine": "native", "num_cpus": 2, "num_gpus": 0, **settings})
        contexts.append((context["session_dir"], context["session_name"]))
        return context

    yield begin
    shoal.shutdown()
    for folder, name in contexts:
        assert_nothing_left(folder, name)


@shoal.remote
def echo(value: Any) -> Any:
    return value


@shoal.remote
class Plain:
    def get(self) -> int:
        return 1


# Impossible demands


def test_an_impossible_task_warns_with_what_it_wants_and_what_there_is(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    start(infeasible_warning_seconds=0.1)
    ref = echo.options(num_cpus=64, resources={"unicorn": 2}).remote(1)
    eventually(lambda: "unicorn" in caplog.text, "a warning", SECONDS)
    [text] = [record.getMessage() for record in caplog.records if "unicorn" in record.getMessage()]
    assert "echo" in text
    assert "needs 64 CPU; the most any node has is 2" in text
    assert "CPU: 2" in text, "what the cluster has"
    assert "cancel it" in text
    assert shoal.wait([ref], timeout=0)[0] == [], "it waits: a node may join"
    shoal.cancel(ref)
    with pytest.raises(errors.TaskCancelled):
        shoal.get(ref, timeout=SECONDS)
    assert shoal.get(echo.remote(2), timeout=SECONDS) == 2


def test_an_impossible_task_warns_once_and_not_each_time(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    start(infeasible_warning_seconds=0.1)
    refs = [echo.options(num_cpus=64).remote(number) for number in range(20)]
    eventually(lambda: "CPU" in caplog.text, "a warning", SECONDS)
    assert shoal.get(echo.remote(1), timeout=SECONDS) == 1
    assert len([record for record in caplog.records if "no node" in record.getMessage()]) == 1
    assert shoal.wait(refs, timeout=0)[0] == []


def test_impossible_work_is_an_error_if_asked_for(start: Start) -> None:
    start(infeasible="error")
    with pytest.raises(errors.TaskUnschedulable, match="64 CPU"):
        shoal.get(echo.options(num_cpus=64).remote(1), timeout=SECONDS)
    with pytest.raises(errors.ActorUnschedulable, match="unicorn"):
        shoal.get(Plain.options(resources={"unicorn": 1}).remote().get.remote(), timeout=SECONDS)
    assert shoal.get(echo.remote(2), timeout=SECONDS) == 2


def test_impossible_work_is_an_error_wherever_it_is_asked_for(start: Start) -> None:
    """The driver and a task want the same impossible thing: both are told."""
    start(infeasible="error")

    @shoal.remote
    def inside() -> str:
        try:
            return str(shoal.get(echo.options(num_cpus=64).remote(1), timeout=SECONDS))
        except errors.TaskUnschedulable as error:
            return type(error).__name__

    outer = inside.remote()
    with pytest.raises(errors.TaskUnschedulable):
        shoal.get(echo.options(num_cpus=64).remote(1), timeout=SECONDS)
    assert shoal.get(outer, timeout=SECONDS) == "TaskUnschedulable"


def test_an_impossible_actor_warns_with_its_class(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    start(infeasible_warning_seconds=0.1)
    actor = Plain.options(resources={"unicorn": 1}).remote()
    ref = actor.get.remote()
    eventually(lambda: "unicorn" in caplog.text, "a warning", SECONDS)
    assert "Plain" in caplog.text
    del actor
    assert shoal.wait([ref], timeout=0)[0] == []


# Room


def test_an_object_larger_than_the_store_says_both_sizes_and_the_cure(start: Start) -> None:
    start(object_store_memory=16 * MIB)
    with pytest.raises(errors.ObjectStoreFull) as caught:
        shoal.put(b"x" * (32 * MIB))
    text = str(caught.value)
    assert f"{32 * MIB:,}"[:4] in text
    assert f"{16 * MIB:,}" in text
    assert "object_store_memory" in text

    @shoal.remote
    def make(size: int) -> bytes:
        return b"x" * size

    with pytest.raises(errors.ObjectStoreFull):
        shoal.get(make.remote(32 * MIB), timeout=SECONDS)
    with pytest.raises(errors.ObjectStoreFull):
        echo.remote(b"x" * (32 * MIB))
    assert len(shoal.get(make.remote(4 * MIB), timeout=SECONDS)) == 4 * MIB, "the store works as before"


def test_references_handed_round_leave_no_bytes(start: Start) -> None:
    """Objects go through actors that keep, return and forget them; in a store that holds a twentieth of them all."""
    start(object_store_memory=16 * MIB)

    @shoal.remote
    class Shelf:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def keep(self, refs: list[Any]) -> None:
            self.kept += refs

        def give(self) -> list[Any]:
            kept, self.kept = self.kept, []
            return kept

    @shoal.remote
    def copy(value: bytes) -> bytes:
        return bytes(value)

    first, second = Shelf.options(num_cpus=0).remote(), Shelf.options(num_cpus=0).remote()
    for number in range(100):
        content = bytes([number]) * MIB
        shoal.get(first.keep.remote([shoal.put(content)]), timeout=SECONDS)
        shoal.get(second.keep.remote(shoal.get(first.give.remote(), timeout=SECONDS)), timeout=SECONDS)
        [back] = shoal.get(second.give.remote(), timeout=SECONDS)
        assert shoal.get(back, timeout=SECONDS)[:1] == content[:1]
        assert shoal.get(copy.remote(content), timeout=SECONDS)[:1] == content[:1]
        del back


def test_a_full_disk_while_spilling_loses_nothing(start: Start, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.strip()}")
    try:
        start(store="spill", object_store_memory=16 * MIB, spill_dir=str(small))
        kept: list[Any] = []

        def fill() -> None:
            for number in range(40):
                kept.append(shoal.put(bytes([number]) * MIB))

        with pytest.raises((errors.OutOfDisk, errors.ObjectStoreFull)) as caught:
            fill()
        assert "disk" in str(caught.value) or "spill" in str(caught.value)
        assert len(kept) > 12
        for number, ref in enumerate(kept):
            assert shoal.get(ref, timeout=SECONDS)[:1] == bytes([number])
        kept.clear()
        assert shoal.get(echo.remote(shoal.put(b"y" * MIB)), timeout=SECONDS)[:1] == b"y"
    finally:
        shoal.shutdown()
        subprocess.run(["umount", str(small)], check=True)


# Beginnings and ends


def _run(program: str, tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "SHOAL_NUM_CPUS": "1", "SHOAL_NUM_GPUS": "0"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_without_init_gets_a_session(tmp_path: Path) -> None:
    said = _run(
        """
        import shoal

        @shoal.remote
        def double(x):
            return 2 * x

        print(shoal.get(double.remote(21)), shoal.is_initialized())
        """,
        tmp_path,
    )
    assert said.split() == ["42", "True"]


def test_a_fork_of_a_program_with_a_session_is_told_so(tmp_path: Path) -> None:
    said = _run(
        """
        import os, warnings, shoal
        warnings.simplefilter("ignore", DeprecationWarning)

        @shoal.remote
        def one():
            return 1

        shoal.init()
        ref = shoal.put(1)
        print(shoal.get(one.remote()), flush=True)
        child = os.fork()
        if child == 0:
            for what in (lambda: shoal.get(ref), lambda: one.remote(), lambda: shoal.put(2), lambda: shoal.init()):
                try:
                    what()
                    print("worked", flush=True)
                except shoal.errors.NotInitialized as error:
                    print("fork" in str(error), "spawn" in str(error), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(shoal.get(one.remote()), shoal.get(ref))
        """,
        tmp_path,
    )
    assert said.split("\n")[:-1] == ["1", *["True True"] * 4, "1 1"]


def test_after_shutdown_old_things_say_that_their_session_is_over(start: Start) -> None:
    start()
    ref, plain = shoal.put(1), Plain.remote()
    shoal.get(plain.get.remote(), timeout=SECONDS)
    shoal.shutdown()
    start()
    for wrong in (lambda: shoal.get(ref), lambda: shoal.wait([ref]), lambda: shoal.get([ref])):
        with pytest.raises(errors.NotInitialized, match="ended"):
            wrong()
    with pytest.raises((errors.NotInitialized, errors.ActorDied)):
        shoal.get(plain.get.remote(), timeout=SECONDS)

    @shoal.remote
    def open_it(refs: list[Any]) -> Any:
        return shoal.get(refs[0])

    with pytest.raises((errors.NotInitialized, errors.ObjectLost)):
        shoal.get(open_it.remote([ref]), timeout=SECONDS)
    assert shoal.get(echo.remote(3), timeout=SECONDS) == 3


def test_a_temp_dir_too_deep_for_sockets_says_so(start: Start, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    with pytest.raises(errors.SystemFailure, match="temp_dir"):
        start(temp_dir=str(deep))
    assert not any(deep.glob("session_*")), "nothing is left of it"


# Environments


def test_an_unknown_key_of_an_environment_lists_those_there_are(start: Start) -> None:
    start()
    with pytest.raises(errors.ConfigError) as caught:
        echo.options(runtime_env={"working_dirr": "."}).remote(1)
    assert "'working_dir'" in str(caught.value)
    assert "env_vars" in str(caught.value)


def test_a_missing_working_dir_is_named_at_the_call(start: Start) -> None:
    start()
    with pytest.raises(errors.ConfigError, match="/nowhere/at/all"):
        echo.options(runtime_env={"working_dir": "/nowhere/at/all"}).remote(1)


def test_a_missing_working_dir_of_the_session_starts_nothing() -> None:
    with pytest.raises(errors.ConfigError, match="/nowhere/at/all"):
        shoal.init(engine="native", num_cpus=1, runtime_env={"working_dir": "/nowhere/at/all"})
    assert not shoal.is_initialized()


def test_an_archive_that_climbs_out_of_its_folder_is_refused(start: Start, tmp_path: Path) -> None:
    start()
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("good.txt", "good")
        file.writestr("../../../../../../../../" + str(tmp_path / "evil.txt").lstrip("/"), "evil")
    evil = {"working_dir": str(archive)}
    with pytest.raises((errors.RuntimeEnvSetup, errors.ConfigError), match=r"outside|leaves|evil\.txt"):
        shoal.get(echo.options(runtime_env=evil).remote(1), timeout=SECONDS)
    with pytest.raises((errors.RuntimeEnvSetup, errors.ConfigError), match=r"outside|leaves|evil\.txt"):
        shoal.get(Plain.options(runtime_env=evil).remote().get.remote(), timeout=SECONDS)
    assert not (tmp_path / "evil.txt").exists()
    assert shoal.get(echo.remote(1), timeout=SECONDS) == 1
    eventually(lambda: shoal.available_resources().get("CPU") == 2, "its CPUs are free again")


def test_an_environment_that_fails_is_the_error_of_every_task_that_wants_it(
    start: Start, tmp_path: Path
) -> None:
    start()
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "data.txt").write_text("data")
    package = tmp_path / "package.zip"
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("data.txt", "data")
    changed = {"working_dir": {"uri": str(package), "hash": "0" * 64}}  # not what is in there
    refs = [echo.options(runtime_env=changed, max_retries=0).remote(number) for number in range(3)]
    for ref in refs:
        with pytest.raises(errors.RuntimeEnvSetup) as caught:
            shoal.get(ref, timeout=SECONDS)
        assert caught.value.cause is not None
        assert "package.zip" in str(caught.value)
    assert shoal.get(echo.options(runtime_env={"working_dir": str(folder)}).remote(1), timeout=SECONDS) == 1


def test_tasks_that_crash_do_not_condemn_their_environment(start: Start) -> None:
    start()

    @shoal.remote(max_retries=0, runtime_env={"env_vars": {"WHERE": "here"}})
    def die() -> None:
        os._exit(9)

    for _ in range(4):
        with pytest.raises(errors.WorkerCrashed, match="exit code 9"):
            shoal.get(die.remote(), timeout=SECONDS)

    @shoal.remote(runtime_env={"env_vars": {"WHERE": "here"}})
    def look() -> str:
        return os.environ["WHERE"]

    assert shoal.get(look.remote(), timeout=SECONDS) == "here"


# Much output


def test_a_worker_that_prints_a_lot_stays_within_bounds(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    context = start(log_file_max_bytes=MIB, log_files_max=2)
    logs = Path(context["session_dir"]) / "logs"

    @shoal.remote
    def chatter(megabytes: int) -> int:
        block = "\n".join(f"{number:063d}" for number in range(MIB // 64)) + "\n"
        for _ in range(megabytes):
            sys.stdout.write(block)
        sys.stdout.flush()
        return megabytes

    assert shoal.get(chatter.remote(50), timeout=100) == 50
    sizes = {path.name: path.stat().st_size for path in logs.glob("worker-*")}
    assert sum(sizes.values()) <= 3 * 2 * (MIB + 2**19), sizes
    assert shoal.get(echo.remote(1), timeout=SECONDS) == 1, "the session answers as ever"
    shoal.shutdown()
    shown = capfd.readouterr().out
    assert len(shown) < 5 * MIB, "the driver is not drowned"


def test_a_line_without_end_is_cut(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    start()

    @shoal.remote
    def long_line() -> None:
        sys.stdout.write("y" * (2 * MIB))
        sys.stdout.write("\nthe end\n")
        sys.stdout.flush()

    shoal.get(long_line.remote(), timeout=SECONDS)
    seen: list[str] = []

    def arrived() -> bool:
        seen.append(capfd.readouterr().out)
        return "the end" in "".join(seen)

    eventually(arrived, "the output", SECONDS)
    assert max(map(len, "".join(seen).split("\n"))) < 10_000
