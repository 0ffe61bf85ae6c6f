"""Durable actors on virtual nodes that die at random moments: each call that a seed makes is applied once."""

from __future__ import annotations

import random

import pytest

import shoal
from shoal.interfaces.current import current
from shoal.sim.engine import SimEngine

NODES = 4


@shoal.remote(durable=True, exactly_once=True, num_cpus=1)
class Ledger:
    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    def add(self, caller: str, number: int) -> int:
        self.entries.append((caller, number))
        return len(self.entries)

    def all(self) -> list[tuple[str, int]]:
        return self.entries


def program(seed: int) -> int:
    """Run one program; return how often a call had to be tried again."""
    chance = random.Random(f"durable/{seed}")
    faults = [
        {
            "kind": "kill_node",
            "node": chance.randrange(1, NODES),
            "at": round(chance.uniform(0, 30), 3),
            "seconds": round(chance.uniform(0.5, 5), 3),
        }
        for _ in range(chance.choice((0, 2, 5, 10)))
    ]
    options = {
        "seed": seed,
        "nodes": NODES,
        "task_seconds": {"Ledger.add": 0.7},
        "faults": faults,
        "quiet_seconds": 0,
    }
    with shoal.init(engine="sim", num_cpus=2, scheduler="spread", engine_options=options):
        ledgers = [Ledger.remote() for _ in range(3)]
        count = chance.randrange(1, 20)
        refs = [[ledger.add.remote("driver", number) for ledger in ledgers] for number in range(count)]
        answers = [shoal.get(row, timeout=100_000) for row in refs]
        for which, ledger in enumerate(ledgers):
            entries = shoal.get(ledger.all.remote(), timeout=100_000)
            assert entries == [("driver", number) for number in range(count)], f"seed {seed}"
            assert [row[which] for row in answers] == list(range(1, count + 1)), f"seed {seed}"
        engine = current.engine
        assert isinstance(engine, SimEngine)
        return int(engine.statistics()["retries"])


@pytest.mark.parametrize("block", range(4))
def test_each_call_is_applied_once_whatever_dies(block: int) -> None:
    retries = sum(program(seed) for seed in range(block * 50, (block + 1) * 50))
    assert retries > 10, "too little died for this to mean anything"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_seeds() -> None:
    assert sum(program(seed) for seed in range(1_000, 2_000)) > 300
