"""Measure Shoal beside Ray and beside the machine's floor. See README.md.

python benchmarks/run.py [--quick] [--rows PATTERN] [--rounds N] [--only shoal|ray] [--write]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

from harness.declare import FLOOR, OURS, REFERENCE, Family, Row, load_families, load_family
from harness.machine import describe
from harness.parent import Outcome, run_family
from harness.processes import adopt_orphans
from harness.report import page, write_json
from harness.results import Results, work_out
from harness.table import floor_table, notes, number, table

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
JSON = HERE / "results" / "latest.json"
ROUNDS = 3
# Floors that no row is measured by, and the family that they are shown with.
FOR_READERS = {
    "tasks": {"ping-pong on one core", "bare loop, one by one", "pickle of a small tuple"},
    "data": {f"dask: {what}" for what in ("read, map_batches, write", "sort", "group-by", "join")},
}
MOST_SECONDS = 1400.0  # no further round is begun that would, by the mean of those before, end later


def main() -> int:
    """Run, print, and write the page if this was the whole run. Returns 1 if a row of ours failed."""
    options = parse(sys.argv[1:])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    adopt_orphans()
    machine = describe()
    families = chosen(load_families(), options.rows)
    floors = load_family("floors")
    results = Results()
    started = time.monotonic()
    for turn in range(options.rounds):
        spent = time.monotonic() - started
        if turn and spent * (turn + 1) / turn > MOST_SECONDS:
            print(f"{spent:.0f} s are spent: no round {turn + 1}")
            options.rounds = turn
            break
        systems = [options.only] if options.only else [REFERENCE, OURS]
        # Who comes first changes: neither always meets the caches and clocks that the other leaves.
        systems = systems[:: -1 if turn % 2 else 1]
        print(f"round {turn + 1} of {options.rounds}")
        for family in families:
            run_rows(FLOOR, floors_of(family, floors), turn, options.quick, results, beside=family.name)
            for system in systems:
                run_rows(system, family, turn, options.quick, results)
    lines = [work_out(row, results, family.name) for family in families for row in family.rows]
    rows_of_floor = [row for row in floors.rows if results.value(FLOOR, row.name) is not None]
    print(f"\n{table(lines)}\n\n{floor_table(rows_of_floor, results)}\n\n{notes(lines, results)}")
    print(f"\n{time.monotonic() - started:.0f} s")
    whole = not (options.quick or options.rows or options.only)
    if options.write and not whole and JSON.exists():
        # A part takes its place among the rest of what was measured last.
        results.recall(json.loads(JSON.read_text())["rounds"])
        families = load_families()
        lines = [work_out(row, results, family.name) for family in families for row in family.rows]
        rows_of_floor = [row for row in floors.rows if results.value(FLOOR, row.name) is not None]
    if whole or options.write:
        PAGE.write_text(page(machine, options.rounds, options.quick, lines, rows_of_floor, results))
        write_json(JSON, machine, options.quick, lines, results)
    return 1 if any(line.verdict == "failed" for line in lines) else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Shoal beside Ray and the machine's floor.")
    parser.add_argument(
        "--quick", action="store_true", help="one round, few iterations: shows that rows work"
    )
    parser.add_argument(
        "--rows", metavar="PATTERN", help="only rows whose names match this regular expression"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"how often each system has its turn ({ROUNDS})"
    )
    parser.add_argument("--only", choices=(OURS, REFERENCE), help="only this system, beside the floor")
    parser.add_argument(
        "--write", action="store_true", help="write docs/performance.md even if this is a part"
    )
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = 1 if options.quick else ROUNDS
    if options.rounds < 1:
        parser.error("--rounds is a number from 1")
    return options


def chosen(families: list[Family], pattern: str | None) -> list[Family]:
    """Return the families with the rows that match."""
    if pattern is None:
        return families
    found = []
    for family in families:
        rows = tuple(row for row in family.rows if re.search(pattern, row.name))
        if rows:
            found.append(Family(family.name, rows, family.session, family.resources))
    if not found:
        names = "\n  ".join(row.name for family in families for row in family.rows)
        raise SystemExit(f"no row matches {pattern!r}; there are\n  {names}")
    return found


def floors_of(family: Family, floors: Family) -> Family:
    """Return the floors that a family is measured by, to be run right before it: a machine's speed changes."""
    needed = {row.floor for row in family.rows} | FOR_READERS.get(family.name, set())
    return Family(floors.name, tuple(row for row in floors.rows if row.name in needed), False, {})


def run_rows(system: str, family: Family, turn: int, quick: bool, results: Results, beside: str = "") -> None:
    """Run what a system has to do of a family in this round."""
    rows: list[Row] = [row for row in family.rows if row.runs_on(system) and (turn == 0 or not row.once)]
    if not rows:
        return
    units = {row.name: row.unit for row in rows}

    def heard(name: str, outcome: Outcome) -> None:
        results.add(system, name, outcome)
        if beside:
            results.add(system, f"{beside}: {name}", outcome)
        text = f"{number(outcome.value)} {units[name]}" if outcome.value is not None else outcome.error
        print(f"  {system:6} {name}: {text}")

    run_family(system, family.name, rows, quick, heard)


if __name__ == "__main__":
    sys.exit(main())
