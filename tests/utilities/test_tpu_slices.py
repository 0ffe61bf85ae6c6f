"""Slices of TPUs: arithmetic on them, and reserving them on nodes that say that they have chips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal.cluster_utils import Cluster
from shoal.errors import ConfigError
from shoal.util import tpu

SECONDS = 60


@pytest.mark.parametrize(
    ("given", "version"), [("TPU-V6E", "v6e"), ("v4", "v4"), ("tpu-v5litepod", "v5litepod"), ("TPU7x", "v7x")]
)
def test_generations_by_their_names(given: str, version: str) -> None:
    assert tpu.get_tpu_version_from_type(given) == version


def test_what_workers_take() -> None:
    assert tpu.get_tpu_worker_resources("4x4", "v6e") == (4, {"CPU": 1, "TPU": 4})
    assert tpu.get_tpu_worker_resources("2x4", "v6e") == (1, {"CPU": 1, "TPU": 8})
    assert tpu.get_tpu_worker_resources("2x4", "v6e", chips_per_vm=4)[0] == 2
    assert tpu.get_tpu_worker_resources("2x2x2", "TPU-V4", {"TPU": 1, "CPU": 2}, num_slices=2) == (
        16,
        {"CPU": 2, "TPU": 1},
    )
    assert tpu.get_tpu_worker_resources("2x2x2", "v7x", tpu_resource_per_chip=2) == (2, {"CPU": 1, "TPU": 8})
    assert tpu.get_tpu_num_slices_for_workers("4x4", "v6e", 9) == 3
    assert tpu.get_tpu_num_slices_for_workers("nonsense", "v6e", 9) == 1
    for arguments, says in [
        (("4x4", "v6e", {"TPU": 3}), "divide"),
        (("4by4", "v6e"), "written like"),
        (("4x4", "h100"), "must be one of"),
    ]:
        with pytest.raises(ConfigError, match=says):
            tpu.get_tpu_worker_resources(*arguments)  # type: ignore[arg-type]


def test_forms_that_there_are_not() -> None:
    for topology, version in [("4x4", "v4"), ("3x3", "v6e"), ("2x2", "v2"), ("4x4x6", "v5p"), ("2x8", "v3")]:
        with pytest.raises(ConfigError, match="no slices of topology"):
            tpu.SlicePlacementGroup(topology, version)


def test_what_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TPU_NAME", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE", "TPU_TOPOLOGY"):
        monkeypatch.delenv(name, raising=False)
    assert (tpu.get_current_pod_name(), tpu.get_current_pod_worker_count()) == (None, None)
    monkeypatch.setenv("TPU_NAME", "slice-a")
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v4-16")
    monkeypatch.setenv("TPU_TOPOLOGY", "2x2x2")
    assert (tpu.get_current_pod_name(), tpu.get_current_pod_worker_count()) == ("slice-a", 2)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b,c,d")
    assert tpu.get_current_pod_worker_count() == 4
    assert tpu.get_tpu_coordinator_env_vars("10.0.0.1", 2, 1) == {
        "MEGASCALE_COORDINATOR_ADDRESS": "10.0.0.1",
        "MEGASCALE_PORT": "8081",
        "MEGASCALE_NUM_SLICES": "2",
        "MEGASCALE_SLICE_ID": "1",
    }


@pytest.fixture(scope="module")
def slices() -> Iterator[None]:
    """A driver in a cluster with two v4 slices of two hosts; the hosts of a slice are its parts of one host."""
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=1)
        for number in range(4):
            name, worker = f"slice-{number // 2}", number % 2
            cluster.add_node(
                num_cpus=1,
                resources={"TPU": 4, **({"TPU-v4-16-head": 1} if worker == 0 else {})},
                labels={
                    "shoal.io/tpu-slice-name": name,
                    "shoal.io/tpu-worker-id": str(worker),
                    "shoal.io/tpu-pod-type": "v4-16",
                    "shoal.io/tpu-topology": "2x2x2",
                    "shoal.io/tpu-subslice-2x2x1": str(worker),
                },
            )
        cluster.connect()
        yield
    finally:
        shoal.shutdown()
        cluster.shutdown()


@shoal.remote
def where() -> str:
    node_id = shoal.get_runtime_context().get_node_id()
    (name,) = [tpu.get_tpu_slice_name_from_node(node) for node in shoal.nodes() if node["NodeID"] == node_id]
    return f"{name} {node_id}"


def free_slices(count: int) -> Any:
    from shoal.testing.engine_gates import wait_for

    wait_for(lambda: tpu.get_num_ready_tpu_slices("2x2x2", "v4") == count, f"{count} free slices")


@pytest.mark.processes
@pytest.mark.usefixtures("slices")
class TestReserving:
    def test_slices_are_counted(self) -> None:
        free_slices(2)
        assert tpu.get_num_tpu_slices("2x2x2", "TPU-V4") == 2
        assert tpu.get_num_tpu_slices("2x2x4", "TPU-V4") == 0
        assert len(tpu.get_tpu_nodes_for_slice("slice-0")) == 2

    def test_a_slice_is_reserved_whole(self) -> None:
        free_slices(2)
        reserved = tpu.slice_placement_group("2x2x2", "v4")
        try:
            assert (reserved.num_hosts, reserved.num_bundles, reserved.chips_per_host) == (2, 2, 4)
            found = shoal.get(tpu.run_on_slice(where, tpu_slice=reserved), timeout=SECONDS)
            assert len(set(found)) == 2
            assert len({one.split()[0] for one in found}) == 1
            free_slices(1)
            other = tpu.SlicePlacementGroup("2x2x2", "v4")
            with pytest.raises(TimeoutError, match="no slice v4-16 became free"):
                tpu.SlicePlacementGroup("2x2x2", "v4", head_reservation_timeout_s=0.2)
            assert other.bundle_label_selector != reserved.bundle_label_selector
            other.shutdown()
        finally:
            reserved.shutdown()
        free_slices(2)
        with pytest.raises(ConfigError, match="shut down"):
            tpu.run_on_slice(where, tpu_slice=reserved)

    def test_a_group_for_each_slice(self) -> None:
        free_slices(2)
        both = tpu.slice_placement_group("2x2x2", "v4", num_slices=2, pg_per_slice=True)
        try:
            assert len(both.slice_placement_groups) == len(both.head_placement_groups) == 2
            with pytest.raises(ValueError, match="slice_placement_groups"):
                _ = both.placement_group
            one = shoal.get(tpu.run_on_slice(where, tpu_slice=both, slice_index=1), timeout=SECONDS)
            assert {text.split()[0] for text in one} == {
                both.bundle_label_selector[-1]["shoal.io/tpu-slice-name"]
            }
            assert len(shoal.get(tpu.run_on_slice(where, tpu_slice=both), timeout=SECONDS)) == 4
            both.release_head_pgs(0)
            assert len(both.head_placement_groups) == 1
        finally:
            both.shutdown()

    def test_a_slice_by_name_and_a_slice_for_one_call(self) -> None:
        free_slices(2)
        chosen = {"shoal.io/tpu-slice-name": "slice-1"}
        named = tpu.SlicePlacementGroup("2x2x2", "v4", bundle_label_selector=[chosen, {}])
        try:
            found = shoal.get(tpu.run_on_slice(where, tpu_slice=named), timeout=SECONDS)
            assert {one.split()[0] for one in found} == {"slice-1"}
        finally:
            named.shutdown()

    def test_a_part_of_a_slice(self) -> None:
        free_slices(2)
        part = tpu.subslice_placement_group("2x2x1", "v4", subslice_index=1)
        try:
            assert (part.slice_name, part.subslice_index, part.num_hosts) == ("slice-0", 1, 1)
            assert part.parent_topology == "2x2x2"
            free_slices(1)
            second = tpu.subslice_placement_group("2x2x1", "v4", subslice_index=1)
            assert second.slice_name == "slice-1"
            free_slices(0)
            with pytest.raises(RuntimeError, match="none of 2 parts is whole"):
                tpu.subslice_placement_group("2x2x1", "v4", subslice_index=1)
            second.shutdown()
        finally:
            part.shutdown()
        with pytest.raises(ConfigError, match="no living v4 node has the labels"):
            tpu.subslice_placement_group("2x2x2", "v4")

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(TypeError, match="must be a remote function"):
            tpu.run_on_slice(print, topology="2x2x2", accelerator_version="v4")
        with pytest.raises(ConfigError, match="give a topology"):
            tpu.run_on_slice(where)
        with pytest.raises(ConfigError, match="pg_per_slice=True"):
            tpu.run_on_slice(where, slice_index=0)
        with pytest.warns(DeprecationWarning, match="run_on_slice"), pytest.raises(ConfigError):
            tpu.dispatch(where)
