"""Reserving whole slices: first the slice by its first host, then all of its hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import shoal
from shoal import PlacementGroup
from shoal.errors import ConfigError
from shoal.util.tpu.cluster import POD_TYPE, SLICE, WORKER, get_tpu_slice_name_from_node, head_resource
from shoal.util.tpu.topology import (
    check_topology,
    chips_of,
    chips_per_host,
    get_tpu_version_from_type,
    get_tpu_worker_resources,
    per_chip,
    pod_type,
)

HEAD_SECONDS = 100.0  # how long a slice is waited for unless told otherwise


def reserve_slice(
    topology: str, version: str, seconds: float | None, slice_name: str | None = None
) -> tuple[str, PlacementGroup]:
    """Reserve the first host of a free slice; return the slice's name and what holds it. Raises TimeoutError."""
    kind = pod_type(topology, version)
    labels = {WORKER: "0", POD_TYPE: kind, **({} if slice_name is None else {SLICE: slice_name})}
    group = shoal.placement_group([{head_resource(kind): 1}], bundle_label_selector=[labels])
    try:
        if not group.wait(seconds):
            raise TimeoutError(
                f"no slice {kind} became free in {seconds} seconds; it is asked for as 1 of {head_resource(kind)} on a "
                f"node with the labels {labels}, and there are: {shoal.cluster_resources()}"
            )
        (node_id,) = shoal.placement_group_table(group)["bundles_to_node_id"].values()
        (node,) = [node for node in shoal.nodes() if node["NodeID"] == node_id]
        name = get_tpu_slice_name_from_node(node)
        if name is None:
            raise ConfigError(
                f"node {node_id} has no label {SLICE}, which names the slice that it is part of"
            )
    except BaseException:
        shoal.remove_placement_group(group)
        raise
    return name, group


class SlicePlacementGroup:
    """Slices that are reserved together, host by host, as a placement group or as one for each slice.

    Parameters: `topology` like "4x4" and `accelerator_version` like "v6e" say which slices, `num_slices` how many;
    `resources_per_bundle` what a bundle is (default: a host's chips and one CPU), `chips_per_vm` how many chips a host
    has where that is not plain; `head_reservation_timeout_s` how long to wait for each slice, None without end;
    `bundle_label_selector` further labels for each bundle (one that names a slice chooses it); `pg_per_slice` makes a
    group for each slice; `tpu_resource_per_chip` units of the resource TPU that a chip is; `strategy`, `name` and
    `lifetime` are those of placement groups.
    Raises ConfigError for slices that there cannot be, TimeoutError if none becomes free.

    Example: `SlicePlacementGroup("4x4", "v6e").placement_group`
    """

    def __init__(
        self,
        topology: str,
        accelerator_version: str,
        resources_per_bundle: Mapping[str, float] | None = None,
        strategy: str = "SPREAD",
        name: str = "",
        lifetime: str | None = None,
        num_slices: int = 1,
        chips_per_vm: int | None = None,
        head_reservation_timeout_s: float | None = HEAD_SECONDS,
        bundle_label_selector: Sequence[Mapping[str, str]] | None = None,
        pg_per_slice: bool = False,
        tpu_resource_per_chip: int | None = None,
    ) -> None:
        self._topology = topology.strip().lower()
        self._version = get_tpu_version_from_type(accelerator_version)
        check_topology(self._topology, self._version)
        if num_slices < 1:
            raise ConfigError(f"num_slices must be ≥ 1, not {num_slices}")
        self._unit = per_chip(tpu_resource_per_chip)
        self._num_slices = num_slices
        self._num_bundles, self._bundle_resources = get_tpu_worker_resources(
            self._topology, self._version, resources_per_bundle, num_slices, chips_per_vm, self._unit
        )
        self._chips_per_host = chips_per_vm or chips_per_host(self._topology, self._version)
        self._per_slice = pg_per_slice
        wanted = list(bundle_label_selector or [{}] * self._num_bundles)
        if len(wanted) != self._num_bundles:
            raise ConfigError(
                f"bundle_label_selector must have a mapping for each of {self._num_bundles} bundles, not {len(wanted)}"
            )
        self._heads: list[PlacementGroup | None] = []
        self._groups: list[PlacementGroup] = []
        self._selectors: list[dict[str, str]] = []
        try:
            self._reserve(wanted, strategy, name, lifetime, head_reservation_timeout_s)
        except BaseException:
            self.shutdown()
            raise

    def _reserve(
        self,
        wanted: list[Mapping[str, str]],
        strategy: str,
        name: str,
        lifetime: str | None,
        seconds: float | None,
    ) -> None:
        each = self._num_bundles // self._num_slices
        for index in range(self._num_slices):
            mine = wanted[index * each : (index + 1) * each]
            chosen: dict[str, str] = {}
            if chips_of(self._topology) > self._chips_per_host:
                named = next((labels[SLICE] for labels in mine if SLICE in labels), None)
                if named is None:
                    named, head = reserve_slice(self._topology, self._version, seconds)
                    self._heads.append(head)
                chosen = {SLICE: named}
            self._selectors += [{**labels, **chosen} for labels in mine]
        parts = self._num_slices if self._per_slice else 1
        size = self._num_bundles // parts
        for part in range(parts):
            self._groups.append(
                shoal.placement_group(
                    [self._bundle_resources] * size,
                    strategy=strategy,
                    name=f"{name}_slice_{part}" if name and self._per_slice else name,
                    lifetime=lifetime,
                    bundle_label_selector=self._selectors[part * size : (part + 1) * size],
                )
            )

    @property
    def slice_placement_group(self) -> PlacementGroup | None:
        """The group; None after `shutdown()`. Raises ValueError if there is one for each slice."""
        if self._per_slice:
            raise ValueError("there is a group for each slice: use slice_placement_groups")
        return self._groups[0] if self._groups else None

    @property
    def placement_group(self) -> PlacementGroup | None:
        """The same as `slice_placement_group`."""
        return self.slice_placement_group

    @property
    def slice_placement_groups(self) -> list[PlacementGroup]:
        """The groups, one for each slice. Raises ValueError if there is one for all."""
        if not self._per_slice:
            raise ValueError("there is one group for all slices: use slice_placement_group")
        return list(self._groups)

    @property
    def head_placement_groups(self) -> list[PlacementGroup]:
        """What holds the slices until their hosts are reserved."""
        return [head for head in self._heads if head is not None]

    @property
    def pg_per_slice(self) -> bool:
        """Whether there is a group for each slice."""
        return self._per_slice

    @property
    def chips_per_host(self) -> int:
        """How many chips a host has."""
        return self._chips_per_host

    @property
    def devices_per_host(self) -> int:
        """How much of the resource TPU a host has."""
        return self._chips_per_host * self._unit

    @property
    def num_hosts(self) -> int:
        """How many hosts the slices have."""
        return max(1, chips_of(self._topology) // self._chips_per_host) * self._num_slices

    @property
    def num_bundles(self) -> int:
        """How many bundles there are."""
        return self._num_bundles

    @property
    def num_slices(self) -> int:
        """How many slices there are."""
        return self._num_slices

    @property
    def topology(self) -> str:
        """The form of each slice."""
        return self._topology

    @property
    def accelerator_version(self) -> str:
        """The generation."""
        return self._version

    @property
    def bundle_label_selector(self) -> list[dict[str, str]]:
        """The labels that each bundle's node must have."""
        return [dict(labels) for labels in self._selectors]

    @property
    def bundle_resources(self) -> dict[str, float]:
        """What each bundle holds."""
        return dict(self._bundle_resources)

    @property
    def tpu_resource_per_chip(self) -> int:
        """How many units of the resource TPU a chip is."""
        return self._unit

    def release_head_pgs(self, slice_index: int | None = None) -> None:
        """Let go of what held the slices, or one of them, which is not needed once their hosts are reserved."""
        if slice_index is not None and not 0 <= slice_index < len(self._heads):
            raise ValueError(f"slice_index must be from 0 to {len(self._heads) - 1}, not {slice_index}")
        for index in range(len(self._heads)) if slice_index is None else [slice_index]:
            head, self._heads[index] = self._heads[index], None
            if head is not None:
                shoal.remove_placement_group(head)

    def shutdown(self) -> None:
        """Give everything back. Again does nothing."""
        groups, self._groups = self._groups, []
        for group in groups:
            shoal.remove_placement_group(group)
        self.release_head_pgs()


def slice_placement_group(
    topology: str,
    accelerator_version: str,
    resources_per_bundle: Mapping[str, float] | None = None,
    num_slices: int = 1,
    chips_per_vm: int | None = None,
    pg_per_slice: bool = False,
    tpu_resource_per_chip: int | None = None,
    **kwargs: Any,
) -> SlicePlacementGroup:
    """Reserve slices and return them; `kwargs` are further ones of `SlicePlacementGroup`. It waits for free slices.

    Example: `slice_placement_group("4x4", "v6e", num_slices=2)`
    """
    return SlicePlacementGroup(
        topology,
        accelerator_version,
        resources_per_bundle,
        num_slices=num_slices,
        chips_per_vm=chips_per_vm,
        pg_per_slice=pg_per_slice,
        tpu_resource_per_chip=tpu_resource_per_chip,
        **kwargs,
    )
