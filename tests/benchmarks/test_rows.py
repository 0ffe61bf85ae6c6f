"""All rows that were promised are there, and a table says of each what it should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness.declare import Row, load_families, load_family
from harness.measure import Bench, Reading
from harness.parent import Outcome
from harness.results import Line, Results, work_out
from harness.table import notes, number, table

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"

# Every row of `ray microbenchmark` of the release that we compare with, but for those of its remote client.
NAMES_OF_THE_REFERENCE = {
    "single client get calls (Plasma Store)",
    "single client put calls (Plasma Store)",
    "multi client put calls (Plasma Store)",
    "single client put gigabytes",
    "single client tasks and get batch",
    "multi client put gigabytes",
    "single client get object containing 10k refs",
    "single client wait 1k refs",
    "single client tasks sync",
    "single client tasks async",
    "multi client tasks async",
    "1:1 actor calls sync",
    "1:1 actor calls async",
    "1:1 actor calls concurrent",
    "1:n actor calls async",
    "n:n actor calls async",
    "n:n actor calls with arg async",
    "1:1 async-actor calls sync",
    "1:1 async-actor calls async",
    "1:1 async-actor calls with args async",
    "1:n async-actor calls async",
    "n:n async-actor calls async",
    "placement group create/removal",
}
ROWS = [row for family in load_families() for row in family.rows]
FLOORS = {row.name for row in load_family("floors").rows}


def run_nothing(bench: Bench) -> Reading:
    return Reading(0.0)


def line_of(row: Row, **values: float | None) -> Line:
    """Work out a row from one value for each system; None stands for a failure."""
    results = Results()
    for system, value in values.items():
        results.add(
            system,
            "family: a floor" if system == "floor" else row.name,
            Outcome(value, error="" if value else "broke"),
        )
    return work_out(row, results, "family")


def test_every_row_of_the_reference_is_measured() -> None:
    assert {row.name for row in ROWS} >= NAMES_OF_THE_REFERENCE


def test_names_are_unique_and_floors_exist() -> None:
    names = [row.name for row in ROWS] + sorted(FLOORS)
    assert len(names) == len(set(names))
    assert {row.floor for row in ROWS if row.floor} <= FLOORS
    assert [row.name for row in ROWS if row.share is not None and row.floor is None] == []


@pytest.mark.parametrize(
    ("less_is_better", "reference", "ours", "ratio", "verdict"),
    [(False, 10.0, 100.0, 10.0, "pass"), (False, 10.0, 99.0, 9.9, "short"), (True, 10.0, 1.0, 10.0, "pass")],
)
def test_a_ratio_is_how_many_times_better(
    less_is_better: bool, reference: float, ours: float, ratio: float, verdict: str
) -> None:
    row = Row(name="r", run=run_nothing, required=10, less_is_better=less_is_better)
    line = line_of(row, ray=reference, shoal=ours)
    assert (line.ratio, line.verdict) == (pytest.approx(ratio), verdict)


def test_the_share_of_the_floor_counts_as_well() -> None:
    row = Row(name="r", run=run_nothing, required=2, floor="a floor", share=0.5)
    assert line_of(row, ray=1.0, shoal=4.0, floor=8.0).verdict == "pass"
    assert line_of(row, ray=1.0, shoal=4.0, floor=9.0).verdict == "short"


def test_a_limit_bounds_our_own_number() -> None:
    row = Row(name="r", run=run_nothing, required=None, less_is_better=True, limit=8.0, only_ours=True)
    assert line_of(row, shoal=8.0).verdict == "pass"
    assert line_of(row, shoal=8.1).verdict == "short"
    assert not row.runs_on("ray")
    more = Row(name="r", run=run_nothing, required=None, limit=8.0, only_ours=True)
    assert line_of(more, shoal=8.0).verdict == "pass"
    assert line_of(more, shoal=7.9).verdict == "short"


def test_nothing_is_judged_without_both_systems() -> None:
    row = Row(name="r", run=run_nothing, required=2)
    assert line_of(row, shoal=4.0).verdict == ""


def test_our_failure_is_no_pass_and_is_shown() -> None:
    row = Row(name="r", run=run_nothing, required=2)
    line = line_of(row, ray=1.0, shoal=None)
    assert line.verdict == "failed"
    assert "| **failed** |" in table([line])
    assert notes([line], Results()) == "- r failed. shoal: broke"


def test_a_number_is_the_median_of_the_rounds_that_worked() -> None:
    results = Results()
    for value in (5.0, None, 1.0, 3.0):
        results.add("shoal", "r", Outcome(value))
    assert results.value("shoal", "r") == 3.0


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (7816.4, "7,816"), (53.678, "53.68"), (0.40399, "0.404"), (0.0, "0")]
)
def test_numbers_have_few_figures(value: float | None, text: str) -> None:
    assert number(value) == text


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUN), *arguments], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.processes
def test_a_quick_run_measures_and_leaves_the_page_alone() -> None:
    page = RUN.parents[1] / "docs" / "performance.md"
    before = page.read_text()
    done = run("--quick", "--only", "shoal", "--rows", "^(single client tasks sync|placement group .*)$")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"shoal  single client tasks sync: [1-9][\d,]* /s", done.stdout)
    assert re.search(r"shoal  placement group create/removal: [1-9][\d,]* /s", done.stdout)
    assert re.search(r"\| single client tasks sync \| /s \| – \| [1-9][\d,]* \|", done.stdout)
    assert page.read_text() == before


def test_a_pattern_that_matches_nothing_lists_the_rows() -> None:
    done = run("--rows", "no such row")
    assert done.returncode != 0
    assert "single client tasks sync" in done.stderr


def test_the_numbers_beside_the_page_are_of_these_rows() -> None:
    made = json.loads((RUN.parent / "results" / "latest.json").read_text())
    measured = [entry["row"] for entry in made["rows"]]
    assert measured == [row.name for row in ROWS if row.name in measured]  # new rows wait for a quiet machine
