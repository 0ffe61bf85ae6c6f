"""The page of what algorithms have learned is what its figures say, and the figures are whole."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("tools_learn", ROOT / "tools" / "learn.py")
assert spec is not None
assert spec.loader is not None
spec.loader.exec_module(learn := importlib.util.module_from_spec(spec))


def test_the_page_and_its_picture_are_made_of_the_figures() -> None:
    for path, text in learn.pages().items():
        assert path.read_text() == text, f"{path.name}: run `python tools/learn.py --page`"


@pytest.mark.parametrize("name", learn.TASKS)
def test_figures_are_of_the_settings_that_are_written_down(name: str) -> None:
    task, found = learn.TASKS[name], learn.read(name)
    assert (found["config"], found["training"], found["most"]) == (task.config, task.training, task.most)
    assert [found["environment"], found["threshold"]] == list(task.goal)
    assert [run["seed"] for run in found["runs"]] == list(learn.SEEDS)
    for run in found["runs"]:
        assert run["learned"] == (run["return"] >= task.goal[1])
        steps = [step for step, _ in run["curve"]]
        assert steps == sorted(steps)
        assert steps[-1] <= run["steps"]
