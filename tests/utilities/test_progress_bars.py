"""Bars of workers are drawn at the driver."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.interfaces.lines import hand_over, make_line
from shoal.util.tqdm import Display, text_of, tqdm, trange

STATE = {
    "id": "a",
    "desc": "reading",
    "total": 4,
    "unit": "it",
    "position": 0,
    "begun": 0.0,
    "now": 2.0,
    "done": 1,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_as_text() -> None:
    assert text_of({**STATE, "closed": False}) == f"reading:  25%|{'█' * 6}{' ' * 18}| 1/4 [2.0 s, 0.5 it/s]"
    assert text_of({**STATE, "total": None, "desc": ""}) == "1 it [2.0 s, 0.5 it/s]"


def test_bars_are_drawn_in_place_on_a_terminal() -> None:
    display = Display(out := Terminal())
    for done, closed in ((1, False), (2, False), (4, True)):
        display.take(7, json.dumps({**STATE, "done": done, "closed": closed}))
    lines = out.getvalue().split("\x1b[1A\x1b[2K")
    assert [line.split("|")[0] for line in lines] == [
        "(pid=7) reading:  25%",
        "(pid=7) reading:  50%",
        "(pid=7) reading: 100%",
    ]


def test_without_a_terminal_it_is_two_lines() -> None:
    display = Display(out := io.StringIO())
    for done in range(5):
        display.take(7, json.dumps({**STATE, "done": done, "closed": done == 4}))
    assert len(out.getvalue().splitlines()) == 2


def test_a_bar_at_the_driver(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tqdm([1, 2, 3], desc="here")) == [1, 2, 3]
    with trange(3) as bar:
        bar.set_description("moved")
        bar.update(3)
    shown = capsys.readouterr().err.splitlines()
    assert [line.split("[")[0].split("|")[-1].strip() for line in shown] == ["0/3", "3/3", "0/3", "3/3"]
    with pytest.raises(TypeError, match="nothing to iterate"):
        iter(tqdm(total=3))
    with pytest.raises(ValueError, match="total"):
        tqdm(total=-1)


def test_lines_that_nobody_takes_are_shown_as_text() -> None:
    assert hand_over(1, make_line("nobody", "shown", "{}")) == "shown"
    with pytest.raises(ValueError, match="one line"):
        make_line("kind", "two\nlines", "")


@pytest.mark.processes
@pytest.mark.parametrize("imported", [True, False])
def test_a_bar_of_a_worker_comes_to_the_driver(imported: bool, tmp_path: Path) -> None:
    program = f"""
import shoal
{"from shoal.util.tqdm import tqdm" if imported else ""}

@shoal.remote
def work():
    from shoal.util.tqdm import tqdm
    return sum(tqdm(range(5), desc="far"))

with shoal.init(num_cpus=1, num_gpus=0):
    assert shoal.get(work.remote()) == 10
"""
    (path := tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    stream = done.stderr if imported else done.stdout
    shown = [line for line in stream.splitlines() if "far:" in line]
    assert "5/5" in shown[-1]
    assert "pid=" in shown[-1]
    assert "\x1e" not in done.stdout + done.stderr
