"""The table of sources and sinks in the page names exactly what there is."""

from __future__ import annotations

import re
from pathlib import Path

import shoal.data

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
INSIDE = {"iter_internal_ref_bundles"}  # for libraries, not for programs


def cells(column: int) -> set[str]:
    """The names in a column of the table."""
    table = PAGE.read_text().partition("## Where rows come from and go to")[2].partition("\n\n- ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    return {name for row in rows for name in re.findall(r"`(\w+)`", row[column])}


def test_every_source_is_in_the_table() -> None:
    there = {name for name in shoal.data.__all__ if name.startswith(("read_", "from_", "range"))}
    assert cells(2) == there


def test_every_sink_is_in_the_table() -> None:
    named = (name for name in dir(shoal.data.Dataset) if name.startswith(("write_", "to_", "iter_")))
    assert cells(3) - {"materialize"} == set(named) - INSIDE
