"""Consumers on several nodes get the blocks that their own node made, while there are some."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Three

import shoal
import shoal.data
from shoal.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def made_on(node: str) -> shoal.data.Dataset:
    """Two blocks of ten rows that say where they were made."""

    def where(batch: dict[str, Any]) -> dict[str, Any]:
        here = shoal.get_runtime_context().get_node_id()
        return {"made": [here] * len(batch["id"])}

    rows = shoal.data.range(20, override_num_blocks=2)
    return rows.map_batches(where, scheduling_strategy=on(node)).materialize()


@shoal.remote(num_cpus=0)
def read(part: Any) -> tuple[str, list[str]]:
    return shoal.get_runtime_context().get_node_id(), [row["made"] for row in part.iter_rows()]


@pytest.mark.parametrize("hinted", [False, True])
def test_consumers_get_the_blocks_of_their_own_node(three: Three, hinted: bool) -> None:
    first, second = [node["NodeID"] for node in shoal.nodes() if node["Alive"]][:2]
    rows = made_on(first).union(made_on(second)).materialize()
    homes = [first, second] if hinted else None
    parts = rows.streaming_split(2, equal=True, locality_hints=homes)
    found = shoal.get(
        [
            read.options(scheduling_strategy=on(node)).remote(part)
            for node, part in zip((first, second), parts, strict=True)
        ],
        timeout=60,
    )
    assert [len(made) for _, made in found] == [20, 20]
    assert all(set(made) == {here} for here, made in found)
