"""Reserving a part of a slice whose hosts are joined among themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import shoal
from shoal import PlacementGroup
from shoal.errors import ConfigError
from shoal.util.tpu.cluster import PART, POD_TYPE, SLICE, TOPOLOGY, is_free
from shoal.util.tpu.slices import HEAD_SECONDS
from shoal.util.tpu.topology import (
    check_topology,
    chips_of,
    chips_per_host,
    get_tpu_version_from_type,
    get_tpu_worker_resources,
)


class SubslicePlacementGroup:
    """A part of a slice that is reserved; made by `subslice_placement_group`."""

    def __init__(
        self,
        placement_group: PlacementGroup,
        parent_topology: str,
        subslice_topology: str,
        subslice_index: int,
        slice_name: str,
        num_hosts: int,
        chips_per_host: int,
        bundle_resources: Mapping[str, float],
        head_placement_groups: Sequence[PlacementGroup] | None = None,
        bundle_label_selectors: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        self._group: PlacementGroup | None = placement_group
        self._parent_topology = parent_topology
        self._topology = subslice_topology
        self._index = subslice_index
        self._slice_name = slice_name
        self._num_hosts = num_hosts
        self._chips_per_host = chips_per_host
        self._resources = dict(bundle_resources)
        self._heads = list(head_placement_groups or ())
        self._selectors = [dict(labels) for labels in bundle_label_selectors or ()]

    @property
    def placement_group(self) -> PlacementGroup | None:
        """The group; None after `shutdown()`."""
        return self._group

    @property
    def parent_topology(self) -> str:
        """The form of the whole slice."""
        return self._parent_topology

    @property
    def subslice_topology(self) -> str:
        """The form of the part."""
        return self._topology

    @property
    def subslice_index(self) -> int:
        """The part's number in its slice."""
        return self._index

    @property
    def slice_name(self) -> str:
        """The slice's name."""
        return self._slice_name

    @property
    def num_hosts(self) -> int:
        """How many hosts the part has."""
        return self._num_hosts

    @property
    def chips_per_host(self) -> int:
        """How many chips a host has."""
        return self._chips_per_host

    @property
    def bundle_resources(self) -> dict[str, float]:
        """What each bundle holds."""
        return dict(self._resources)

    @property
    def head_placement_groups(self) -> list[PlacementGroup]:
        """What holds the slice's first host besides, if anything does."""
        return list(self._heads)

    @property
    def bundle_label_selector(self) -> list[dict[str, str]]:
        """The labels that each bundle's node must have."""
        return [dict(labels) for labels in self._selectors]

    def release_head_pgs(self) -> None:
        """Let go of what holds the slice's first host. Again does nothing."""
        heads, self._heads = self._heads, []
        for head in heads:
            shoal.remove_placement_group(head)

    def shutdown(self) -> None:
        """Give everything back. Again does nothing."""
        group, self._group = self._group, None
        if group is not None:
            shoal.remove_placement_group(group)
        self.release_head_pgs()


def subslice_placement_group(
    subslice_topology: str,
    accelerator_version: str,
    chips_per_vm: int | None = None,
    resources_per_bundle: Mapping[str, float] | None = None,
    strategy: str = "STRICT_SPREAD",
    name: str = "",
    lifetime: str | None = None,
    head_reservation_timeout_s: float | None = HEAD_SECONDS,
    subslice_index: int | None = None,
) -> SubslicePlacementGroup:
    """Reserve a free part of that form of some slice, and return it when its hosts are reserved.

    Which hosts make up a part is what the nodes' labels `shoal.io/tpu-subslice-TOPOLOGY` say, with the part's number:
    it follows from how the chips are wired, which whoever starts the nodes knows. `subslice_index` asks for that
    number; `head_reservation_timeout_s` is how long the hosts are waited for. The rest is as for `SlicePlacementGroup`.
    Raises ConfigError if no node has such labels, RuntimeError if no part is free, TimeoutError.

    Example: `subslice_placement_group("2x4", "v6e", chips_per_vm=4).placement_group`
    """
    topology = subslice_topology.strip().lower()
    version = get_tpu_version_from_type(accelerator_version)
    check_topology(topology, version)
    count, resources = get_tpu_worker_resources(
        topology, version, resources_per_bundle, chips_per_vm=chips_per_vm
    )
    chips = chips_per_vm or chips_per_host(topology, version)
    hosts = max(1, chips_of(topology) // chips)
    label = PART + topology
    slice_name, index, parent = _free_part(label, hosts, version, subslice_index)
    selectors = [{SLICE: slice_name, label: index}] * count
    group = shoal.placement_group(
        [resources] * count, strategy, name, lifetime, bundle_label_selector=selectors
    )
    if not group.wait(head_reservation_timeout_s):
        shoal.remove_placement_group(group)
        raise TimeoutError(
            f"part {index} of slice {slice_name} was not free within {head_reservation_timeout_s} s"
        )
    return SubslicePlacementGroup(
        group, parent, topology, int(index), slice_name, hosts, chips, resources, None, selectors
    )


def _free_part(label: str, hosts: int, version: str, wanted: int | None) -> tuple[str, str, str]:
    """Return (slice, number, the slice's form) of a part that is whole and free."""
    parts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for node in shoal.nodes():
        labels = node["Labels"]
        fits = node["Alive"] and labels.get(POD_TYPE, "").partition("-")[0] == version
        if fits and label in labels and SLICE in labels and wanted in (None, int(labels[label])):
            parts.setdefault((labels[SLICE], labels[label]), []).append(node)
    if not parts:
        raise ConfigError(
            f"no living {version} node has the labels {label}{'' if wanted is None else f'={wanted}'}, {SLICE} and "
            f"{POD_TYPE}, which say what the parts are: start the nodes with them (shoal start --labels)"
        )
    for (slice_name, index), nodes in sorted(parts.items(), key=lambda part: (part[0][0], int(part[0][1]))):
        if len(nodes) == hosts and all(map(is_free, nodes)):
            return slice_name, index, nodes[0]["Labels"].get(TOPOLOGY, "")
    raise RuntimeError(f"none of {len(parts)} parts is whole ({hosts} hosts) and free")
