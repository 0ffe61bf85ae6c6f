"""Rows for people as an aligned table, and for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the rows below their headers, columns aligned: numbers to the right, the rest to the left.

    Example: `table(["name", "n"], [["a", 10]])` is `"name   n\\na     10"`.
    """
    body = [list(row) for row in rows]
    texts = [list(headers)] + [[_text(cell) for cell in row] for row in body]
    widths = [max(len(line[column]) for line in texts) for column in range(len(headers))]
    numeric = [bool(body) and all(_is_number(row[column]) for row in body) for column in range(len(headers))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in texts
    )


def as_json(value: Any) -> str:
    """Return plain data as indented JSON; what JSON does not know becomes its text."""
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    if isinstance(cell, bool):
        return "yes" if cell else ""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
