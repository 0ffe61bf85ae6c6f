"""docs/performance.md and the JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.declare import Row
from harness.results import Line, Results
from harness.table import floor_table, notes, table

_PAGE = """\
# Performance

Made by `make bench`, which measures Shoal, Ray and the machine's floor in turn within one run, each in processes of
its own, and takes medians over {rounds}. Both systems run the same functions with their own defaults and two CPUs;
[benchmarks/README.md](../benchmarks/README.md) says what each row does. A ratio says how many times better Shoal is,
whichever direction is better in that row. "Of floor" is the share of what the machine does with no framework at all.

{warning}| | |
| --- | --- |
{machine}

## Shoal beside Ray

{passed} of {asked} rows reach what is asked of them.

{table}

## The floor

{floors}

## Beside the numbers

{notes}

Not here are the rows of Ray's own microbenchmark that are named "client: …": they measure its remote client.
"""
_WARNING = """\
This is a quick run: few iterations, some rows smaller, other work on the machine. It shows that rows work.

"""


def page(
    machine: dict[str, str],
    rounds: int,
    quick: bool,
    lines: Sequence[Line],
    floors: Sequence[Row],
    results: Results,
) -> str:
    """Return the page."""
    asked = [line for line in lines if line.verdict]
    return _PAGE.format(
        rounds="one round" if rounds == 1 else f"{rounds} rounds",
        warning=_WARNING if quick else "",
        machine="\n".join(f"| {name} | {value} |" for name, value in machine.items()),
        passed=sum(line.verdict == "pass" for line in asked),
        asked=len(asked),
        table=table(lines),
        floors=floor_table(floors, results),
        notes=notes(lines, results) or "Nothing.",
    )


def write_json(
    path: Path, machine: dict[str, str], quick: bool, lines: Sequence[Line], results: Results
) -> None:
    """Write every value of every round."""
    values: dict[str, dict[str, Any]] = {}
    for (system, name), outcomes in results.outcomes.items():
        values.setdefault(system, {})[name] = [outcome.value for outcome in outcomes]
    path.parent.mkdir(exist_ok=True)
    made = {"machine": machine, "quick": quick, "rows": [line.to_json() for line in lines], "rounds": values}
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
