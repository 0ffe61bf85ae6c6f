"""Durable actors under the killer of workers, nodes and the head, longer and alone: exactly N calls are exactly N."""

from __future__ import annotations

import killer
import pytest

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.mark.timeout(500)
@pytest.mark.parametrize("seed", [21, 22])
def test_ledgers_in_a_storm(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killer, "WORKLOADS", (killer.ledgers,))
    faults = killer.run(45, seed=seed, say=print)
    assert sum(faults.values()) >= 6
