"""What `shoal doctor` says of the dashboard."""

from __future__ import annotations

import sys

import pytest

from shoal.config import Config
from shoal.dashboard.check import check
from shoal.interfaces.checks import GOOD, WARNING


def test_all_is_there() -> None:
    [found] = check(Config())
    assert found.state == GOOD


def test_a_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    [found] = check(Config())
    assert found.state == WARNING
    assert "uvicorn" in found.text
    assert "shoal[dashboard]" in found.cure
    [off] = check(Config(include_dashboard=False))
    assert off.state == GOOD
