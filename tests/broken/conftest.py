"""Distributions that exist only as files on the path: discovery is real, nothing is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shoal.registry import discover

FakeDist = Callable[[str, str, str], None]


@pytest.fixture
def fake_dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDist]:
    """Make a distribution: its name (also its module's), the text of entry_points.txt, the module's source."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(name: str, entry_points: str, source: str) -> None:
        made.append(name)
        (tmp_path / f"{name}.py").write_text(source)
        (info := tmp_path / f"{name}-1.2.dist-info").mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        importlib.invalidate_caches()  # the folder may have been listed within the clock's last tick
        discover.forget()

    yield make
    for name in made:
        sys.modules.pop(name, None)
    discover.forget()
