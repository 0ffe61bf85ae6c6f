"""Objects: small and large ones, put and got."""

from __future__ import annotations

from typing import Any

import numpy as np
from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
GB = 1e9


@ROWS.row("single client get calls (Plasma Store)", required=20)
def get_small(bench: Bench) -> Reading:
    value = bench.api.put(0)
    return bench.rate(lambda: bench.api.get(value))


@ROWS.row("single client put calls (Plasma Store)", required=50)
def put_small(bench: Bench) -> Reading:
    return bench.rate(lambda: bench.api.put(0))


@ROWS.row("multi client put calls (Plasma Store)")
def multi_put_small(bench: Bench) -> Reading:
    api = bench.api

    @api.remote
    def do_put_small() -> None:
        for _ in range(100):
            api.put(0)

    return bench.rate(lambda: api.get([do_put_small.remote() for _ in range(10)]), 1000)


@ROWS.row("put 8 MB", unit="GB/s", required=3, floor="memcpy 8 MB", share=0.6)
def put_8_mb(bench: Bench) -> Reading:
    array = np.arange(1_000_000, dtype=np.int64)
    return bench.rate(lambda: bench.api.put(array), array.nbytes / GB)


@ROWS.row("get 8 MB", required=5)
def get_8_mb(bench: Bench) -> Reading:
    array = np.arange(1_000_000, dtype=np.int64)
    reference = bench.api.put(array)
    return bench.rate(lambda: bench.api.get(reference))


def put_again_and_again(bench: Bench, array: np.ndarray[Any, Any]) -> Reading:
    """The steady state: one more before the warm-up, so that pages have been used."""
    bench.api.put(array)
    return bench.rate(lambda: bench.api.put(array), array.nbytes / GB)


@ROWS.row("put 800 MB", unit="GB/s", required=10, floor="memcpy 800 MB", share=0.6, seconds=90)
def put_800_mb(bench: Bench) -> Reading:
    return put_again_and_again(bench, np.ones(100_000_000, dtype=np.int64))


@ROWS.row(
    "single client put gigabytes",
    unit="GB/s",
    required=10,
    floor="memcpy 800 MB of zeros",
    share=0.6,
    seconds=90,
)
def put_gigabytes(bench: Bench) -> Reading:
    return put_again_and_again(bench, np.zeros(100 * 1024 * 1024, dtype=np.int64))


@ROWS.row("multi client put gigabytes", unit="GB/s", seconds=120)
def multi_put(bench: Bench) -> Reading:
    api = bench.api
    repeat = bench.size(10, 2)

    @api.remote
    def do_put() -> None:
        for _ in range(repeat):
            api.put(np.zeros(10 * 1024 * 1024, dtype=np.int64))

    return bench.rate(lambda: api.get([do_put.remote() for _ in range(10)]), 10 * repeat * 0.084)


@ROWS.row("single client get object containing 10k refs", seconds=90)
def get_containing_refs(bench: Bench) -> Reading:
    api = bench.api

    @api.remote
    def create_object_containing_ref() -> list[object]:
        return [api.put(1) for _ in range(10_000)]

    holder = create_object_containing_ref.remote()
    return bench.rate(lambda: api.get(holder))
