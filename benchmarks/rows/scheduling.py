"""Decisions of the scheduler plugins with 1,000 nodes, by themselves: no session, no process but this one."""

from __future__ import annotations

from collections import deque
from itertools import count

import attrs
from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
SESSION = False
NODES, CPUS = 1000, 16
LEAST = 20_000  # decisions a second; what a row of this family is held to


def decisions(bench: Bench, scheduler: str, full: bool) -> Reading:
    """Place tasks of one to four CPUs, each changing its node's load; what was placed first ends first.

    Of the full cluster's nodes two have room: where it is must be known, not found.
    """
    from shoal.ids import NodeID
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import SCHEDULERS
    from shoal.spec.live import LiveView
    from shoal.spec.resources import ResourceSet
    from shoal.spec.view import Demand, NodeView, Placement

    policy = load_driver(SCHEDULERS, scheduler)()
    whole, nothing = ResourceSet.of(CPU=CPUS, memory=64e9), ResourceSet.of(memory=64e9)
    view = LiveView(
        NodeView(
            node_id=NodeID(number.to_bytes(8, "big")),
            total=whole,
            available=nothing if full and number % (NODES // 2) else whole,
        )
        for number in range(NODES)
    )
    sizes = [ResourceSet.of(CPU=cpus) for cpus in (1, 2, 3, 4)]
    running: deque[tuple[NodeID, ResourceSet]] = deque()
    turns = count()

    def change(node_id: NodeID, available: ResourceSet) -> None:
        view.put(attrs.evolve(view.nodes[node_id], available=available))

    def step() -> None:
        for _ in range(100):
            turn = next(turns)
            asked = sizes[turn % 4]
            decision = policy.place(Demand(resources=asked, turn=turn), view)
            assert isinstance(decision, Placement), decision
            change(decision.node_id, view.nodes[decision.node_id].available - asked)
            running.append((decision.node_id, asked))
            if len(running) > 6:
                where, freed = running.popleft()
                change(where, view.nodes[where].available + freed)

    return bench.rate(step, 100)


def _add(scheduler: str, full: bool) -> None:
    state = "nearly full" if full else "free"

    @ROWS.row(f"decisions of {scheduler}, 1,000 nodes, {state}", required=None, limit=LEAST, only_ours=True)
    def row(bench: Bench) -> Reading:
        return decisions(bench, scheduler, full)


for _scheduler in ("hybrid", "locality", "binpack", "spread"):
    for _full in (False, True):
        _add(_scheduler, _full)
