"""Workloads under a seeded killer of workers, nodes and the head: every answer is right. `make chaos` runs longer."""

from __future__ import annotations

import pytest
from killer import run

pytestmark = pytest.mark.processes


@pytest.mark.timeout(400)
def test_a_short_storm() -> None:
    faults = run(20, seed=11, say=print)
    assert sum(faults.values()) >= 3
