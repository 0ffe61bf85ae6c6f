"""The examples of leagues and hierarchies learn what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2] / "examples"


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", ROOT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_league_learns_to_leave_multiples_of_four(capsys: pytest.CaptureFixture[str]) -> None:
    assert loaded("rllib_league").main(12) >= 0.7, "by chance a third of the moves are right"
    assert "3 joined" in capsys.readouterr().out


def test_two_levels_come_to_the_corner() -> None:
    assert loaded("rllib_hierarchy").main(9) >= 0.8
