"""Placement groups."""

from __future__ import annotations

from harness.declare import Rows
from harness.measure import Bench, Reading
from harness.systems import groups_of

ROWS = Rows()
RESOURCES = {"custom": 100.0}


@ROWS.row("placement group create/removal", seconds=90)
def create_and_remove(bench: Bench) -> Reading:
    groups = groups_of(bench.api)

    def step() -> None:
        made = [groups.placement_group(bundles=[{"custom": 0.001}]) for _ in range(100)]
        for group in made:
            group.wait(timeout_seconds=30)
        for group in made:
            groups.remove_placement_group(group)

    return bench.rate(step, 100)
