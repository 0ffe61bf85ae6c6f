"""Random programs on virtual nodes that die at random: results are right, retries are bounded, nothing is left."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pytest

import shoal
from shoal.errors import ActorError, NodeDied, ObjectLost
from shoal.interfaces.current import current
from shoal.sim.engine import SimEngine

CPUS, NODES = 2, 4
LARGE = 200_000  # bytes: more than travels in messages


class Counts:
    """Where the tasks of one program, which run in this process, count their executions."""

    now: ClassVar[Counter[str]] = Counter()


def counted(name: str) -> None:
    import test_engine_seeds  # tasks are pickled: they find the module's own state, not a copy of it

    test_engine_seeds.Counts.now[name] += 1


@shoal.remote
def add(name: str, large: bool, *parts: Any) -> Any:
    counted(name)
    total = 1 + sum(int(part[0]) if isinstance(part, np.ndarray) else part for part in parts)
    return np.full(LARGE, total, dtype=np.int64) if large else total


@shoal.remote
def parent(name: str, count: int) -> int:
    counted(name)
    return sum(shoal.get([add.options(num_cpus=1).remote(f"{name}.{i}", False) for i in range(count)]))


@shoal.remote
class Tally:
    def __init__(self) -> None:
        self.total = 0

    def add(self, name: str) -> int:
        counted(name)
        self.total += 1
        return self.total


def faults(chance: random.Random) -> list[dict[str, object]]:
    return [
        {
            "kind": "kill_node",
            "node": chance.randrange(1, NODES),
            "at": round(chance.uniform(0, 20), 3),
            "seconds": round(chance.uniform(0.5, 5), 3),
        }
        for _ in range(chance.choice((0, 1, 3, 8)))
    ]


def value_of(ref: Any) -> Any:
    value = shoal.get(ref, timeout=100_000)
    return int(value[0]) if isinstance(value, np.ndarray) else value


def program(seed: int) -> tuple[str, Counter[str], Counter[str]]:
    """Run one random program; return the digest of its trace, its executions and its outcomes."""
    chance = random.Random(f"program/{seed}")
    Counts.now = Counter()
    outcomes: Counter[str] = Counter()
    allowed: dict[str, int] = {}
    options = {
        "seed": seed,
        "nodes": NODES,
        "task_seconds": {"add": 1.0, "parent": 0.5, "Tally.add": 0.7},
        "bandwidth": 1e6,
        "faults": faults(chance),
        "quiet_seconds": 0,
    }
    scheduler = chance.choice(("hybrid", "spread", "binpack", "locality"))
    with shoal.init(engine="sim", num_cpus=CPUS, scheduler=scheduler, engine_options=options):
        engine = current.engine
        assert isinstance(engine, SimEngine)
        refs: list[Any] = []
        expected: list[int] = []
        for number in range(chance.randint(5, 25)):
            name, retries = f"t{number}", chance.choice((0, 2, 5))
            uses = chance.sample(range(len(refs)), min(len(refs), chance.choice((0, 0, 1, 3))))
            task = add.options(num_cpus=chance.choice((1, 2)), max_retries=retries)
            refs.append(task.remote(name, chance.random() < 0.4, *(refs[use] for use in uses)))
            expected.append(1 + sum(expected[use] for use in uses))
            allowed[name] = 1 + retries
        for number in range(chance.randint(0, 4)):
            children = chance.randint(1, 4)
            refs.append(parent.options(max_retries=4).remote(f"p{number}", children))
            expected.append(children)
            allowed[f"p{number}"] = 5
        group = None
        if chance.random() < 0.5:
            group = shoal.placement_group([{"CPU": 1}] * 2, strategy=chance.choice(("PACK", "STRICT_SPREAD")))
            inside = shoal.PlacementGroupSchedulingStrategy(group)
            for number in range(4):
                work = add.options(num_cpus=1, scheduling_strategy=inside, max_retries=5)
                refs.append(work.remote(f"g{number}", False))
                expected.append(1)
                allowed[f"g{number}"] = 6
        tally: Any = Tally.options(  # type: ignore[attr-defined]
            num_cpus=1, max_restarts=chance.choice((0, 2, -1)), max_task_retries=chance.choice((0, 2))
        ).remote()
        calls = [tally.add.remote(f"c{number}") for number in range(6)]
        allowed |= {f"c{number}": 3 for number in range(6)}
        for ref, right in zip(refs, expected, strict=True):
            try:
                assert value_of(ref) == right
                outcomes["done"] += 1
            except (NodeDied, ObjectLost) as error:  # of a task, or of an argument that it needed
                outcomes[type(error).__name__] += 1
        for call in calls:
            try:
                assert 1 <= value_of(call) <= 6
                outcomes["call done"] += 1
            except ActorError as error:
                outcomes[type(error).__name__] += 1
        if group is not None:
            shoal.remove_placement_group(group)
        shoal.kill(tally)
        del refs, calls, ref, call
        shoal.wait([add.options(num_cpus=99).remote("never", False)], timeout=100)  # the last nodes come back
        assert shoal.available_resources()["CPU"] == CPUS * NODES, engine.view()
        for name, most in allowed.items():
            assert Counts.now[name] <= most, (name, Counts.now[name], most)
        assert sum(Counts.now.values()) >= outcomes["done"] + outcomes["call done"]
        return engine.world.trace.digest(), Counts.now, outcomes


def test_random_programs() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        seen += program(seed)[2]
    assert seen["done"] > 500
    assert seen["NodeDied"] > 0
    assert seen["call done"] > 0
    assert seen["ActorDied"] + seen["ActorUnavailable"] > 0


def test_they_replay() -> None:
    for seed in range(100, 110):
        assert program(seed) == program(seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_random_programs() -> None:
    for seed in range(1000, 2500):
        program(seed)
