"""What was measured: medians over rounds, ratios, and whether a row reaches what is asked of it."""

from __future__ import annotations

import operator
import statistics
from typing import Any

import attrs

from harness.declare import FLOOR, OURS, REFERENCE, Row
from harness.parent import Outcome


@attrs.define
class Results:
    """Every outcome, by system and row."""

    outcomes: dict[tuple[str, str], list[Outcome]] = attrs.field(factory=dict)

    def add(self, system: str, name: str, outcome: Outcome) -> None:
        self.outcomes.setdefault((system, name), []).append(outcome)

    def recall(self, rounds: dict[str, dict[str, list[float | None]]]) -> None:
        """Take what an earlier run has written for what was not measured now."""
        for system, rows in rounds.items():
            for name, values in rows.items():
                if (system, name) not in self.outcomes:
                    self.outcomes[system, name] = [Outcome(value=value) for value in values]

    def value(self, system: str, name: str) -> float | None:
        """Return the median of the rounds that worked."""
        values = [o.value for o in self.outcomes.get((system, name), ()) if o.value is not None]
        return statistics.median(values) if values else None

    def errors(self, system: str, name: str) -> list[str]:
        return [o.error for o in self.outcomes.get((system, name), ()) if o.error]

    def facts(self, system: str, name: str) -> dict[str, float]:
        """Return the facts of the last round that worked."""
        found = [o.facts for o in self.outcomes.get((system, name), ()) if o.value is not None]
        return found[-1] if found else {}


@attrs.frozen(kw_only=True)
class Line:
    """One row of the table, worked out."""

    row: Row
    reference: float | None
    ours: float | None
    ratio: float | None  # how many times better than the reference system
    share: float | None  # of the floor
    verdict: str  # "pass", "short", "failed", or "" if nothing was asked or only one system ran
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        row = self.row
        return {
            "row": row.name,
            "unit": row.unit,
            REFERENCE: self.reference,
            OURS: self.ours,
            "ratio": self.ratio,
            "required": row.required,
            "floor": row.floor,
            "share": self.share,
            "required_share": row.share,
            "limit": row.limit,
            "verdict": self.verdict,
            "notes": list(self.notes),
        }


def work_out(row: Row, results: Results, family: str) -> Line:
    """Return the line of a row. Its floor is the one that was measured beside its family."""
    reference, ours = results.value(REFERENCE, row.name), results.value(OURS, row.name)
    floor = results.value(FLOOR, f"{family}: {row.floor}") if row.floor else None
    ratio = None
    if reference and ours:
        ratio = reference / ours if row.less_is_better else ours / reference
    share = ours / floor if ours and floor else None
    notes = [
        f"{system}: {error}" for system in (REFERENCE, OURS) for error in results.errors(system, row.name)
    ]
    return Line(
        row=row,
        reference=reference,
        ours=ours,
        ratio=ratio,
        share=share,
        verdict=_verdict(row, ours, ratio, share, bool(results.errors(OURS, row.name))),
        notes=tuple(notes),
    )


def _verdict(row: Row, ours: float | None, ratio: float | None, share: float | None, failed: bool) -> str:
    if failed:
        return "failed"
    asked = [
        (row.required, ratio, operator.ge),
        (row.share, share, operator.ge),
        (row.limit, ours, operator.le if row.less_is_better else operator.ge),
    ]
    answers = [holds(got, wanted) for wanted, got, holds in asked if wanted is not None and got is not None]
    if not answers:
        return ""
    return "pass" if all(answers) else "short"
