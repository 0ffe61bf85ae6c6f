"""Runs a child for one system and family, bounds each of its rows, and ends whatever it leaves."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from harness.declare import Row
from harness.processes import PYTHON, end_all

CHILD = Path(__file__).with_name("child.py")
SECONDS_TO_START = 60.0
SECONDS_TO_END = 15.0


@attrs.frozen
class Outcome:
    """What came of one row on one system in one round."""

    value: float | None
    facts: dict[str, float] = attrs.field(factory=dict)
    error: str = ""


def run_family(
    system: str, family: str, rows: Sequence[Row], quick: bool, heard: Callable[[str, Outcome], None]
) -> None:
    """Run the rows in order; call `heard` for each. After a row that hangs or dies a new child takes the rest."""
    left = list(rows)
    while left:
        stopped_by = _run_child(system, family, left, quick, heard)
        if stopped_by is not None and left:
            heard(left.pop(0).name, Outcome(None, error=stopped_by))


def _run_child(
    system: str, family: str, left: list[Row], quick: bool, heard: Callable[[str, Outcome], None]
) -> str | None:
    """Run one child and take what it finished off `left`. Return why it stopped early, at the first of `left`."""
    ours, theirs = os.pipe()
    with tempfile.TemporaryFile() as noise:
        process = _spawn(system, family, [row.name for row in left], quick, theirs, noise)
        os.close(theirs)
        try:
            why, said = _listen(ours, left, heard)
            if why is None:
                process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            print(f"  {system} {family}: did not end within {SECONDS_TO_END:g} s", file=sys.stderr)
        finally:
            os.close(ours)
            if process.poll() is None:
                process.kill()
            process.wait()
            end_all()
        if why is None:
            return None
        noise.seek(said)
        last = noise.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        return "; ".join([why, *last])[:500]


def _spawn(
    system: str, family: str, names: list[str], quick: bool, report: int, noise: Any
) -> subprocess.Popen[bytes]:
    command = [*PYTHON, str(CHILD), system, family, "1" if quick else "0", str(report), *names]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=noise, stderr=noise, pass_fds=(report,))


def _listen(report: int, left: list[Row], heard: Callable[[str, Outcome], None]) -> tuple[str | None, int]:
    """Hear a child out. Return None when it has said that it is through, else why that will not come.

    The number is where in its output the words of its present row begin.
    """
    said = 0
    text = b""
    deadline = time.monotonic() + SECONDS_TO_START
    doing = "start"
    bound = SECONDS_TO_START
    while True:
        ready, _, _ = select.select([report], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return f"did not {doing} within {bound:g} s", said
        data = os.read(report, 1 << 16)
        if not data:
            return f"ended before it could {doing}", said
        text += data
        *lines, text = text.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "end" in message:
                return None, said
            if "begin" in message:
                said = message["said"]
                doing, bound = "finish", left[0].seconds
                deadline = time.monotonic() + bound
            else:
                row = left.pop(0)
                assert row.name == message["row"]
                heard(
                    row.name,
                    Outcome(message.get("value"), message.get("facts", {}), message.get("error", "")),
                )
                deadline = time.monotonic() + SECONDS_TO_START
                bound = SECONDS_TO_START
