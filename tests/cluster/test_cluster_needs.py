"""What a head tells an autoscaler, and what work that no node can run does while there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shoal
from shoal import exceptions
from shoal.autoscaler import request_resources
from shoal.cluster_utils import Cluster
from shoal.errors import ConfigError
from shoal.interfaces.nodes import NodeType
from shoal.interfaces.scaling import ScalingLink, ScalingView
from shoal.scaling import link_to, scaling_link
from shoal.spec.resources import ResourceSet
from shoal.util.scheduling_strategies import NodeAffinitySchedulingStrategy

pytestmark = pytest.mark.processes
SECONDS = 30
GPU = NodeType(name="gpu", resources=ResourceSet.of(CPU=2, GPU=1), labels={"zone": "b"}, most=3)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and a node with two; this process is a driver."""
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 0}) as cluster:
        cluster.add_node(num_cpus=2)
        shoal.init(**cluster.init_arguments(), infeasible="error")
        cluster.wait_for_nodes()
        yield cluster
        shoal.shutdown()


@pytest.fixture
def link(cluster: Cluster) -> Iterator[ScalingLink]:
    """The link of the only autoscaler there is: this test."""
    link = link_to(address=cluster.address, temp_dir=cluster.init_arguments()["temp_dir"])
    assert link.lead(b"test", SECONDS, [GPU])
    yield link
    link.close()
    link.close()


def eventually(link: ScalingLink, holds: Callable[[ScalingView], Any]) -> ScalingView:
    deadline = time.monotonic() + SECONDS
    while not holds(view := link.view()):
        assert time.monotonic() < deadline, view
        time.sleep(0.05)
    return view


@shoal.remote
class Gate:
    def __init__(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def opened(self) -> bool:
        return self.is_open


@shoal.remote(num_cpus=1)
def wait_for(gate: Any) -> bool:
    while not shoal.get(gate.opened.remote()):
        time.sleep(0.02)
    return True


def of_kind(view: ScalingView, what: str) -> int:
    return sum(need.count for need in view.needs if what in need.what)


def test_tasks_actors_and_groups_that_wait_are_told(link: ScalingLink) -> None:
    gate = Gate.options(num_cpus=0).remote()
    running = [wait_for.remote(gate) for _ in range(5)]
    view = eventually(link, lambda view: of_kind(view, "wait_for") == 3)
    [need] = [need for need in view.needs if "wait_for" in need.what]
    assert need.resources == ResourceSet.of(CPU=1)
    actor = Gate.options(num_cpus=2, num_gpus=1, label_selector={"zone": "b"}).remote()
    view = eventually(link, lambda view: of_kind(view, "actor Gate"))
    [need] = [need for need in view.needs if "actor" in need.what]
    assert (need.resources, need.selector) == (ResourceSet.of(CPU=2, GPU=1), {"zone": "b"})
    together = shoal.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_PACK")
    apart = shoal.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
    view = eventually(link, lambda view: of_kind(view, "placement group") == 3)
    whole = next(need for need in view.needs if need.group == together.id.hex())
    assert whole.resources == ResourceSet.of(CPU=2)
    assert [need.apart for need in view.needs if need.group == apart.id.hex()] == [apart.id.hex()] * 2
    for group in (together, apart):
        shoal.remove_placement_group(group)
    shoal.kill(actor)
    shoal.get(gate.open.remote())
    assert shoal.get(running, timeout=SECONDS) == [True] * 5
    eventually(link, lambda view: not view.needs)


def test_a_node_says_what_it_is_needed_for(link: ScalingLink, cluster: Cluster) -> None:
    there = cluster.worker_nodes[0].node_id

    def in_use(view: ScalingView) -> str:
        return next(node.in_use for node in view.nodes if node.node_id == there)

    eventually(link, lambda view: "programs" not in in_use(view) and "lease" not in in_use(view))
    here = NodeAffinitySchedulingStrategy(node_id=there, soft=False)
    free = Gate.options(
        num_cpus=0, scheduling_strategy=here
    ).remote()  # takes nothing, and must not be lost all the same
    shoal.get(free.opened.remote())
    eventually(link, lambda view: "lease" in in_use(view))
    shoal.kill(free)
    eventually(link, lambda view: not in_use(view))


def test_one_autoscaler_leads_at_a_time(link: ScalingLink) -> None:
    assert not link.lead(b"other", 5, [])
    assert link.lead(b"test", 5, [GPU])
    link.tell(b"other", {"mine": 1})
    assert link.told() is None
    link.tell(b"test", {"mine": 2})
    told = link.told()
    assert told is not None
    assert (told["mine"], told["leads"]) == (2, True)
    link.step_down(b"other")
    assert not link.lead(b"other", 5, [])
    link.step_down(b"test")
    assert link.lead(b"other", 0.3, [])
    deadline = time.monotonic() + SECONDS
    while not link.lead(b"test", 5, [GPU]):  # its time runs out
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_no_node_can_run_waits_if_a_machine_could_come(link: ScalingLink) -> None:
    @shoal.remote(num_gpus=1)
    def on_a_gpu() -> int:
        return 1

    ref = on_a_gpu.remote()
    view = eventually(link, lambda view: of_kind(view, "on_a_gpu"))
    assert view.needs[0].resources.get("GPU") == 1
    deadline = time.monotonic() + SECONDS
    while "can launch gpu for it" not in (said := str(shoal.explain(ref))):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    assert shoal.wait([ref], timeout=0)[0] == []
    shoal.cancel(ref)


def test_what_no_machine_could_ever_run_fails_and_says_so(link: ScalingLink) -> None:
    @shoal.remote(num_gpus=4)
    def on_four() -> int:
        return 1

    with pytest.raises(exceptions.TaskUnschedulable, match="No node type of the autoscaler") as caught:
        shoal.get(on_four.remote(), timeout=SECONDS)
    assert "gpu {CPU: 2, GPU: 1}" in str(caught.value)
    with pytest.raises(exceptions.ActorUnschedulable, match="No node type of the autoscaler"):
        Gate.options(num_gpus=2).remote()


def test_without_an_autoscaler_it_fails_as_ever(link: ScalingLink) -> None:
    link.step_down(b"test")

    @shoal.remote(num_gpus=1)
    def on_a_gpu() -> int:
        return 1

    with pytest.raises(exceptions.TaskUnschedulable) as caught:
        shoal.get(on_a_gpu.remote(), timeout=SECONDS)
    assert "autoscaler" not in str(caught.value)


def test_requests_replace_each_other(link: ScalingLink) -> None:
    request_resources(num_cpus=3, bundles=[{"GPU": 1}], bundle_label_selectors=[{"zone": "b"}])
    cpus, gpu = link.view().requests
    assert (cpus.resources, cpus.count) == (ResourceSet.of(CPU=1), 3)
    assert (gpu.resources, gpu.selector) == (ResourceSet.of(GPU=1), {"zone": "b"})
    request_resources(bundles=[{"CPU": 2}])
    assert [need.resources for need in link.view().requests] == [ResourceSet.of(CPU=2)]
    request_resources()
    assert link.view().requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_cpus": -1}, "num_cpus"),
        ({"num_cpus": 1.5}, "num_cpus"),
        ({"num_cpus": True}, "num_cpus"),
        ({"bundles": [{}]}, "bundle"),
        ({"bundles": ["CPU"]}, "bundle"),
        ({"bundles": [{"CPU": -1}]}, "CPU"),
        ({"bundles": [{"CPU": 1}], "bundle_label_selectors": []}, "1 bundles"),
    ],
)
def test_nonsense_is_not_requested(cluster: Cluster, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request_resources(**arguments)


def test_outside_of_a_session_nothing_can_be_requested() -> None:
    with pytest.raises(exceptions.NotInitialized):
        request_resources(num_cpus=1)
    with shoal.init(engine="inline"), pytest.raises(ConfigError, match="inline"):
        scaling_link()
