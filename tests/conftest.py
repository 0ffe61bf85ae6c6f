"""What holds for every test: no module under a second name, and no process or thread left behind."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from shoal.registry import discover

OUR_FOLDERS = ("accelerators", "kernel", "plugins", "schedulers", "stores")
# Helpers of the standard library that live until the process ends, by design.
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
SECONDS_TO_END = 10

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has started this in the background: what tests start would be deaf to Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own tests."""
    parser.addoption(
        "--write-screenshots", action="store_true", help="take the pictures of the documentation anew"
    )


@pytest.fixture(autouse=True)
def _no_module_has_two_names() -> Iterator[None]:
    """`schedulers.x` and `shoal.schedulers.x` would be two modules with unequal classes out of one file."""
    yield
    wrong = [name for name in OUR_FOLDERS if name in sys.modules]
    assert not wrong, f"{wrong} was imported by its folder's name: the repository root is on sys.path"


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """Whatever started a process or a thread has ended it when the last test is over."""
    threads = set(threading.enumerate())
    yield
    children = [child for child in psutil.Process().children(recursive=True) if not _is_helper(child)]
    _, alive = psutil.wait_procs(children, timeout=SECONDS_TO_END)
    left = [f"process {child.pid}: {' '.join(_command(child))}" for child in alive]
    for thread in set(threading.enumerate()) - threads:
        if not thread.daemon:
            thread.join(SECONDS_TO_END)
            left += [f"thread {thread.name}"] if thread.is_alive() else []
    assert not left, "left behind by the tests:\n" + "\n".join(left)


@pytest.fixture
def fake_dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Make a distribution of files on the path, so that discovery is real and nothing is installed.

    It takes a name (also its module's), the text of entry_points.txt, and the module's source.
    """
    (folder := tmp_path / "distributions").mkdir()
    monkeypatch.syspath_prepend(folder)
    made: list[str] = []

    def make(name: str, entry_points: str, source: str) -> None:
        made.append(name)
        (folder / f"{name}.py").write_text(source)
        (info := folder / f"{name}-1.2.dist-info").mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        importlib.invalidate_caches()  # the folder may have been listed within the clock's last tick
        discover.forget()

    yield make
    for name in made:
        sys.modules.pop(name, None)
    discover.forget()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_helper(process: psutil.Process) -> bool:
    return any(helper in word for word in _command(process) for helper in HELPERS)
