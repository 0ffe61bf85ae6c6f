"""Metrics: counted in every process, read in one place."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

import shoal
from shoal.util.metrics import Counter, Gauge, Histogram, Metric, collect, flush, prometheus_text

pytestmark = pytest.mark.usefixtures("session")


def new_name() -> str:
    return f"m_{uuid.uuid4().hex}"


def samples(name: str) -> list[Any]:
    return [sample for sample in collect() if sample.name == name]


def test_a_counter_adds_up_by_tags() -> None:
    counter = Counter(name := new_name(), "served", tag_keys=("route",))
    counter.inc(tags={"route": "/a"})
    counter.inc(2, tags={"route": "/a"})
    counter.set_default_tags({"route": "/b"})
    counter.inc(5)
    assert [(sample.tags["route"], sample.value) for sample in samples(name)] == [("/a", 3), ("/b", 5)]
    assert counter.info["tag_keys"] == ("route",)


def test_a_gauge_has_its_last_value() -> None:
    gauge = Gauge(name := new_name())
    gauge.set(3)
    gauge.set(None)
    gauge.set(1.5)
    assert [sample.value for sample in samples(name)] == [1.5]


def test_a_histogram_counts_up_to_each_boundary() -> None:
    histogram = Histogram(name := new_name(), boundaries=[1, 10])
    for value in (0.5, 1, 5, 100):
        histogram.observe(value)
    [sample] = samples(name)
    assert dict(sample.buckets) == {1.0: 2, 10.0: 1, float("inf"): 1}
    assert (sample.count, sample.value) == (4, 106.5)


def test_two_of_one_name_share_their_numbers() -> None:
    name = new_name()
    Counter(name).inc()
    Counter(name).inc()
    assert [sample.value for sample in samples(name)] == [2]
    with pytest.raises(ValueError, match="a counter named"):
        Gauge(name)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: Counter("with space"), ValueError),
        (lambda: Counter(new_name(), tag_keys="route"), TypeError),
        (lambda: Counter(new_name()).inc(0), ValueError),
        (lambda: Counter(new_name()).inc("1"), TypeError),
        (lambda: Counter(new_name()).inc(tags={"route": "/"}), ValueError),
        (lambda: Counter(new_name(), tag_keys=("route",)).inc(), ValueError),
        (lambda: Counter(new_name(), tag_keys=("route",)).inc(tags={"route": 1}), TypeError),
        (lambda: Histogram(new_name()), ValueError),
        (lambda: Histogram(new_name(), boundaries=[2, 1]), ValueError),
        (lambda: Metric(new_name()), TypeError),
    ],
)
def test_wrong_use_is_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        wrong()


def test_prometheus_reads_them() -> None:
    counter = Counter(name := new_name(), "what it is\nfor", tag_keys=("path",))
    counter.inc(3, tags={"path": 'a "b"\n'})
    Histogram(other := new_name(), boundaries=[1, 2]).observe(1.5)
    text = prometheus_text()
    assert f"# HELP {name} what it is\\nfor\n# TYPE {name} counter\n" in text
    assert f'{name}{{path="a \\"b\\"\\n"}} 3\n' in text
    assert f'{other}_bucket{{le="1"}} 0\n{other}_bucket{{le="2"}} 1\n{other}_bucket{{le="+Inf"}} 1\n' in text
    assert f"{other}_sum 1.5\n{other}_count 1\n" in text


def test_numbers_of_other_processes_are_added(session: str) -> None:
    name = new_name()

    @shoal.remote
    def count(by: int) -> str:
        Counter(name).inc(by)
        flush()
        return shoal.get_runtime_context().get_worker_id()

    workers = shoal.get([count.remote(by) for by in (1, 2, 4)])
    Counter(name).inc(8)
    assert [sample.value for sample in samples(name)] == [15]
    if session == "native":
        assert shoal.get_runtime_context().get_worker_id() not in workers


@pytest.mark.processes
def test_a_process_hands_its_numbers_over_by_itself(session: str) -> None:
    if session == "inline":
        pytest.skip("there is one process")
    name = new_name()

    @shoal.remote
    def count() -> None:
        Counter(name).inc(3)

    shoal.get(count.remote())
    end = time.monotonic() + 30
    while not samples(name) and time.monotonic() < end:
        shoal.wait([count.options(num_cpus=0).remote()], timeout=1)
    assert samples(name)
