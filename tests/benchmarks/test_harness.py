"""The harness survives rows that raise, hang and die, ends what they leave, and judges numbers as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# A family of rows that misbehave, run by the real parent and child.
FAULTY = """
import os, subprocess, sys, time
from harness.declare import Rows
from harness.measure import Reading

ROWS = Rows()
SESSION = False

@ROWS.row("good")
def good(bench):
    return Reading(2.0, {"seen": 1.0})

@ROWS.row("raises")
def raises(bench):
    raise ValueError("seven is not eight")

@ROWS.row("hangs", seconds=0.5)
def hangs(bench):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(600)

@ROWS.row("dies")
def dies(bench):
    print("last words", file=sys.stderr, flush=True)
    os._exit(3)

@ROWS.row("good again")
def good_again(bench):
    return Reading(4.0)
"""

DRIVER = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import psutil
import rows
rows.__path__.append(sys.argv[2])
from harness import parent
from harness.declare import load_family
from harness.processes import adopt_orphans
adopt_orphans()
parent.CHILD = sys.argv[2] + "/child_of_test.py"
family = load_family("faulty")
heard = []
parent.run_family("floor", "faulty", family.rows, True, lambda name, o: heard.append([name, o.value, o.facts, o.error]))
left = [process.pid for process in psutil.Process().children(recursive=True)]
print(json.dumps({"heard": heard, "left": left}))
"""

CHILD = """
import sys
sys.path.insert(0, {benchmarks!r})
import rows
rows.__path__.append({folder!r})
from harness.child import main
main()
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the parent heard of the family of faults, and which processes were left. In a process of its own,
    since the parent ends every process below it."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "faulty.py").write_text(FAULTY)
    (folder / "child_of_test.py").write_text(CHILD.format(benchmarks=str(BENCHMARKS), folder=str(folder)))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(BENCHMARKS), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def outcome(faulty: dict[str, object], name: str) -> tuple[float | None, dict[str, float], str]:
    heard = faulty["heard"]
    assert isinstance(heard, list)
    (found,) = [entry[1:] for entry in heard if entry[0] == name]
    return found[0], found[1], found[2]


def test_rows_around_a_fault_are_measured(faulty: dict[str, object]) -> None:
    assert outcome(faulty, "good") == (2.0, {"seen": 1.0}, "")
    assert outcome(faulty, "good again") == (4.0, {}, "")


def test_a_row_that_raises_says_why(faulty: dict[str, object]) -> None:
    assert outcome(faulty, "raises") == (None, {}, "ValueError: seven is not eight")


def test_a_row_that_hangs_is_ended_at_its_bound(faulty: dict[str, object]) -> None:
    value, _, error = outcome(faulty, "hangs")
    assert (value, error) == (None, "did not finish within 0.5 s")


def test_a_row_that_takes_its_process_along_is_named_with_its_last_words(faulty: dict[str, object]) -> None:
    value, _, error = outcome(faulty, "dies")
    assert (value, error) == (None, "ended before it could finish; last words")


def test_every_row_is_heard_once_in_order(faulty: dict[str, object]) -> None:
    heard = faulty["heard"]
    assert isinstance(heard, list)
    assert [entry[0] for entry in heard] == ["good", "raises", "hangs", "dies", "good again"]


def test_no_process_outlives_its_row(faulty: dict[str, object]) -> None:
    # The row that hangs had started one in a session of its own: only its parentage tells whose it was.
    assert faulty["left"] == []
