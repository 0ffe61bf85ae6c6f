"""Environments on disk: made once, whole or not at all, counted by locks, the oldest removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.errors import ConfigError, RuntimeEnvSetup
from shoal.interfaces.environment import WorkerChanges, setup_deadline
from shoal.native.process.environment_cache import EnvironmentCache

SECONDS = 30.0
SIZE = 1000


def maker(made: list[str] | None = None, size: int = SIZE) -> Callable[[str], WorkerChanges]:
    def build(folder: str) -> WorkerChanges:
        (Path(folder) / "file").write_bytes(bytes(size))
        if made is not None:
            made.append(folder)
        return WorkerChanges(variables={"WHERE": folder}, path=[folder], programs=[folder])

    return build


def folders(cache: Path) -> list[str]:
    return sorted(str(path) for path in cache.iterdir() if path.is_dir())


def test_it_is_made_once(tmp_path: Path) -> None:
    cache = EnvironmentCache(str(tmp_path / "c"), 1 << 20)
    made: list[str] = []
    changes, hold = cache.obtain("step", {"a": [1]}, maker(made))
    again, other = EnvironmentCache(str(tmp_path / "c"), 1 << 20).obtain("step", {"a": [1]}, maker(made))
    assert changes == again or (dict(changes.variables), list(changes.path)) == (
        dict(again.variables),
        list(again.path),
    )
    cache.obtain("step", {"a": [2]}, maker(made))[1].close()
    cache.obtain("other", {"a": [1]}, maker(made))[1].close()
    assert len(made) == 3
    hold.close()
    hold.close()
    other.close()
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = EnvironmentCache(str(tmp_path), 1 << 20)

    def fail(folder: str) -> WorkerChanges:
        (Path(folder) / "half").touch()
        raise RuntimeEnvSetup("the installer's words")

    for _ in range(2):
        with pytest.raises(RuntimeEnvSetup, match="the installer's words"):
            cache.obtain("step", 1, fail)
    assert folders(tmp_path) == []
    cache.obtain("step", 1, maker())[1].close()
    assert len(folders(tmp_path)) == 1


def test_threads_that_want_the_same_make_it_once(tmp_path: Path) -> None:
    cache = EnvironmentCache(str(tmp_path), 1 << 20)
    made: list[str] = []
    begun = threading.Event()
    go_on = threading.Event()

    def slowly(folder: str) -> WorkerChanges:
        begun.set()
        assert go_on.wait(SECONDS)
        return maker(made)(folder)

    threads = [threading.Thread(target=lambda: cache.obtain("step", 1, slowly)[1].close()) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(SECONDS)
    setup = setup_deadline.set(time.monotonic() + 0.3)
    with pytest.raises(RuntimeEnvSetup, match="not ready in time"):
        cache.obtain("step", 1, maker(made))
    setup_deadline.reset(setup)
    go_on.set()
    for thread in threads:
        thread.join(SECONDS)
    assert len(made) == 1


def test_a_process_that_is_killed_while_it_makes_one(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from shoal.native.process.environment_cache import EnvironmentCache\n"
        "def build(folder):\n"
        "    (Path(folder) / 'half').touch()\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
        "EnvironmentCache(sys.argv[1], 1 << 20).obtain('step', 1, build)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        (half,) = folders(tmp_path)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(SECONDS)
    made: list[str] = []
    EnvironmentCache(str(tmp_path), 1 << 20).obtain("step", 1, maker(made))[1].close()
    assert folders(tmp_path) == made
    assert made != [half]


def test_the_oldest_that_nobody_uses_goes(tmp_path: Path) -> None:
    cache = EnvironmentCache(str(tmp_path), 2 * SIZE)
    holds = []
    for number in range(3):
        changes, hold = cache.obtain("step", number, maker())
        os.utime(next(tmp_path.glob(f"{Path(changes.path[0]).name[:32]}.json")), (number + 1, number + 1))
        holds.append(hold)
    assert len(folders(tmp_path)) == 3  # all are in use
    holds[1].close()
    holds[2].close()
    cache.trim()
    left = [cache.obtain("step", number, _must_not_build)[1] for number in (0, 2)]
    assert len(folders(tmp_path)) == 2
    for hold in [*left, holds[0]]:
        hold.close()
    made: list[str] = []
    cache.obtain("step", 1, maker(made))[1].close()
    assert len(made) == 1
    assert len(folders(tmp_path)) == 2
    assert len(list(tmp_path.glob("*.lock"))) == 2


def _must_not_build(folder: str) -> WorkerChanges:
    raise AssertionError(folder)


def test_a_marker_without_its_folder_counts_for_nothing(tmp_path: Path) -> None:
    cache = EnvironmentCache(str(tmp_path), 1 << 20)
    changes, hold = cache.obtain("step", 1, maker())
    hold.close()
    place = Path(changes.path[0])
    (place / "file").unlink()
    place.rmdir()
    made: list[str] = []
    cache.obtain("step", 1, maker(made))[1].close()
    assert len(made) == 1
    next(tmp_path.glob("*.json")).write_text("{")  # a disk that was full
    cache.obtain("step", 1, maker(made))[1].close()
    assert len(made) == 2


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="environment_cache_dir"):
        EnvironmentCache(str(tmp_path), 1).obtain("step", 1, maker())
