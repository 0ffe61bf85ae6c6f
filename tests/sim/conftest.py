"""An option that replays one seed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--sim-seed`. Known when this folder or a file in it is named on the command line."""
    parser.addoption("--sim-seed", type=int, default=None, help="the one seed that test_replay runs")
