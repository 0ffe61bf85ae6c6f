"""The table, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from harness.declare import FLOOR, OURS, REFERENCE, Row
from harness.results import Line, Results

_HEAD = "| row | unit | Ray | Shoal | ratio | asked | of floor | asked | |"
_RULE = "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"


def number(value: float | None) -> str:
    """Return three figures, with separators: 7,816 and 0.404."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3g}"


def table(lines: Sequence[Line]) -> str:
    """Return the table of ratios."""
    return "\n".join([_HEAD, _RULE, *map(_line, lines)])


def _line(line: Line) -> str:
    row = line.row
    asked = f"≥ {row.required:g}×" if row.required is not None else "–"
    if row.limit is not None:
        asked = f"{'≤' if row.less_is_better else '≥'} {row.limit:g} {row.unit}"
    cells = [
        row.name,
        row.unit,
        number(line.reference),
        number(line.ours),
        f"{number(line.ratio)}×" if line.ratio is not None else "–",
        asked,
        f"{line.share:.2f} ({row.floor})" if line.share is not None else "–",
        f"≥ {row.share:g}" if row.share is not None else "–",
        f"**{line.verdict}**" if line.verdict in ("short", "failed") else line.verdict,
    ]
    return f"| {' | '.join(cells)} |"


def floor_table(rows: Sequence[Row], results: Results) -> str:
    """Return the table of the machine's floor."""
    head = ["| floor | unit | this machine |", "| --- | --- | ---: |"]
    return "\n".join(
        head + [f"| {r.name} | {r.unit} | {number(results.value(FLOOR, r.name))} |" for r in rows]
    )


def notes(lines: Sequence[Line], results: Results) -> str:
    """Return what the table has no column for: facts beside a number, and why a row failed."""
    found = []
    for line in lines:
        for system in (REFERENCE, OURS):
            facts = results.facts(system, line.row.name)
            if facts:
                shown = ", ".join(f"{name} {number(value)}" for name, value in facts.items())
                found.append(f"- {line.row.name}, {system}: {shown}")
        found += [f"- {line.row.name} failed. {note}" for note in line.notes]
    return "\n".join(found)
