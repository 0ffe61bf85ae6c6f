"""Progress bars are drawn on a terminal, one line or one for each step, and nowhere else."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys, time
import shoal, shoal.data

def slow(row):
    time.sleep(0.02)
    return row

with shoal.init(engine="inline", num_cpus=2):
    shoal.data.DataContext.get_current().execution_options.verbose_progress = sys.argv[1] == "each"
    shoal.data.DataContext.get_current().enable_progress_bars = sys.argv[1] != "none"
    print(len(shoal.data.range(40, override_num_blocks=20).map(slow).random_shuffle().take_all()))
"""
_SECONDS = 60.0


def on_a_terminal(how: str) -> tuple[str, str]:
    """What a program prints, and what its terminal shows of its standard error."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.5)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the terminal's other end is closed
                break
    os.close(ours)
    printed, _ = process.communicate(timeout=_SECONDS)
    assert process.returncode == 0
    return printed, shown.decode()


@pytest.mark.parametrize(
    ("how", "names"), [("one", ["RandomShuffle"]), ("each", ["Map(slow)", "RandomShuffle"])]
)
def test_a_terminal_shows_how_far_an_execution_is(how: str, names: list[str]) -> None:
    printed, shown = on_a_terminal(how)
    assert printed == "40\n"
    assert all(name in shown for name in names)
    assert ("Map(slow)" in shown) is (how == "each")
    assert " rows, " in shown
    assert " tasks" in shown


def test_bars_that_are_not_wanted_or_that_nobody_sees_are_not_drawn() -> None:
    assert on_a_terminal("none") == ("40\n", "")
    piped = subprocess.run(
        [sys.executable, "-c", PROGRAM, "each"], capture_output=True, text=True, timeout=_SECONDS, check=True
    )
    assert (piped.stdout, piped.stderr) == ("40\n", "")
