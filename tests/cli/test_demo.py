"""The demo and the first program of the README, run as a newcomer runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from shoal.cli import demo as parts
from shoal.cli.main import build

ENGINES = ["inline", pytest.param("native", marks=pytest.mark.processes)]
README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_demo_agrees_with_a_single_process(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(build(), ["demo", "--engine", engine, "--files", "20"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("20 files, ")
    assert done.output.endswith("Both counts agree.\n")
    assert re.search(rf"^shoal\.engines +{engine} +shoal \d", done.output, re.MULTILINE)


@pytest.mark.processes
def test_the_demo_on_processes_reads_one_array_in_shared_memory() -> None:
    outcome = parts.run("native", 40)
    assert os.getpid() not in {place.process for place in outcome.places}
    assert {place.memory for place in outcome.places} == {"shared"}
    assert sum(place.files for place in outcome.places) == 40


def test_a_wrong_count_fails_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = parts.run

    def run_and_miscount(engine: str, files: int, before_end: Any) -> parts.Outcome:
        outcome = run(engine, files, before_end)
        return attrs.evolve(outcome, agrees=Counter() == outcome.total.kinds)

    monkeypatch.setattr(parts, "run", run_and_miscount)
    done = CliRunner().invoke(build(), ["demo", "--engine", "inline", "--files", "2"])
    assert done.exit_code == 1
    assert "Error: the tasks and the single process counted differently" in done.output


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_program_of_the_readme_prints_what_it_says(engine: str, tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    path = tmp_path / "program.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env=os.environ | {"SHOAL_ENGINE": engine},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    promised = [
        line.partition("# ")[2].partition(":")[0] for line in program.splitlines() if "print(" in line
    ]
    assert done.stdout.splitlines() == promised, done.stderr
