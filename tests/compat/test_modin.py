"""Modin's engine for Ray, through the alias. Modin goes with older versions of pandas only: see docs/limits.md."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.processes
@pytest.mark.skipif(importlib.util.find_spec("modin") is None, reason="Modin is not installed")
@pytest.mark.skipif(
    importlib.util.find_spec("shoal.data") is None,
    reason="Modin's engine imports ray.data, which is not in Shoal yet",
)
def test_a_program_of_modin(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "shoal.compat", str(program)],
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
