"""Tensors that stay on one node until an actor or task on another needs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import shoal

pytestmark = pytest.mark.processes
SECONDS = 60.0
LARGE = 300_000


@shoal.remote(num_cpus=0)
class Keeper:
    @shoal.method(tensor_transport="shm")
    def make(self, number: float) -> Any:
        return {"array": np.full(LARGE, number)}

    def total(self, value: Any) -> float:
        return float(value["array"].sum())

    async def total_later(self, refs: list[Any]) -> float:
        return float((await refs[0])["array"].sum())


def test_tensors_cross_nodes(three: Any) -> None:
    left = Keeper.options(resources={"left": 1}).remote()
    right = Keeper.options(resources={"right": 1}).remote()
    for number in (1.0, 2.0):
        ref = left.make.remote(number)
        assert shoal.get(right.total.remote(ref), timeout=SECONDS) == number * LARGE
        assert shoal.get(right.total_later.remote([ref]), timeout=SECONDS) == number * LARGE
        assert shoal.get(ref, timeout=SECONDS)["array"][0] == number
