"""Modin's engine for Ray, through the alias. Modin goes with pandas below 2.4 only, so it gets an environment."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import modin.pandas as pd

if __name__ == "__main__":
    pd.DataFrame({"day": [1, 2, 1, 3] * 250, "rain": [float(n) for n in range(1000)]}).to_csv("rain.csv", index=False)
    rain = pd.read_csv("rain.csv")
    print(rain["rain"].sum(), rain.groupby("day")["rain"].max().to_dict())
    names = pd.DataFrame({"day": [1, 2, 3], "name": ["Mo", "Tu", "We"]})
    both = rain.merge(names, on="day")
    print(len(both), both[both["rain"] > 997]["name"].to_list())
    print(rain.apply(lambda row: row["day"] + row["rain"], axis=1).max())
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has Modin: this one, or that of an environment made for it."""
    if importlib.util.find_spec("modin") is not None:
        return sys.executable
    folder = tmp_path_factory.mktemp("modin")
    venv.create(folder, with_pip=False)
    uv = Path(sys.executable).parent / "uv"
    made = str(folder / "bin" / "python")
    wanted = ["--editable", f"{ROOT}[data]", "modin", "pandas<2.4"]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", made, *wanted], check=True, timeout=300)
    return made


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(400)
def test_a_program_of_modin(python: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [python, "-W", "ignore", "-m", "shoal.compat", str(program)],
        env={**os.environ, "MODIN_ENGINE": "ray", "MODIN_CPUS": "2", "SHOAL_LOG_TO_DRIVER": "false"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "499500.0 {1: 998.0, 2: 997.0, 3: 999.0}",
        "1000 ['Mo', 'We']",
        "1002.0",
    ]
