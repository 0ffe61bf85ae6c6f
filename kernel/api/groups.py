"""Placement groups: bundles of resources that are reserved together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.api.session import engine_or_start
from shoal.errors import ConfigError, describe
from shoal.ids import NodeID, PlacementGroupID
from shoal.interfaces.refs import ObjectRef
from shoal.spec.resources import ResourceSet
from shoal.spec.view import BundleSpec, GroupSpec

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class PlacementGroup:
    """A placement group. Equal and hashed by identifier; can be passed to tasks and actors."""

    __slots__ = ("_bundles", "id")

    def __init__(
        self,
        id: PlacementGroupID,  # noqa: A002
        bundle_cache: Sequence[Mapping[str, float]] | None = None,
    ) -> None:
        """Name a group. Without `bundle_cache`, its bundles, these are asked for when somebody wants to know them."""
        self.id: PlacementGroupID = id
        self._bundles: tuple[dict[str, float], ...] | None = (
            None if bundle_cache is None else tuple(dict(bundle) for bundle in bundle_cache)
        )

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The bundles as they were asked for. Raises ValueError if nobody knows the group."""
        if self._bundles is None and not self.id.is_nil():
            self._bundles = _known_bundles(self.id)
        return [dict(bundle) for bundle in self._bundles or ()]

    @property
    def bundle_count(self) -> int:
        """How many bundles there are."""
        return len(self.bundle_specs)

    @property
    def is_empty(self) -> bool:
        """Whether this is the group of nothing."""
        return self.id.is_nil()

    @staticmethod
    def empty() -> PlacementGroup:
        """Return the group of nothing, which stands for "no group" in older programs."""
        return PlacementGroup(PlacementGroupID.nil())

    def ready(self) -> ObjectRef[PlacementGroup]:
        """Return a reference that is ready once every bundle is reserved.

        Its get() raises PlacementGroupRemoved if the group is removed first.
        """
        return engine_or_start().group_ready(self.id)

    def wait(self, timeout_seconds: float | None = 30) -> bool:
        """Wait until every bundle is reserved, or `timeout_seconds` are over; tell whether they are.

        Raises PlacementGroupRemoved if the group is removed.
        """
        engine = engine_or_start()
        ref = engine.group_ready(self.id)
        ready, _ = engine.wait([ref], 1, timeout_seconds, False)
        if ready:
            engine.get(ready, 0)
        return bool(ready)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()}, {list(self._bundles or ())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroup, (self.id, self._bundles)


def placement_group(
    bundles: Sequence[Mapping[str, float]],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: Sequence[Mapping[str, str]] | None = None,
) -> PlacementGroup:
    """Ask for bundles of resources that are reserved together, all or none. Returns at once.

    Parameters: `strategy` is PACK or SPREAD (as far as can be), STRICT_PACK (one node) or STRICT_SPREAD (a node
    each); `name` makes it findable by `get_placement_group`; `lifetime="detached"` lets it outlive its driver;
    `bundle_label_selector` has one mapping of node labels per bundle.
    Raises ConfigError for an empty or negative bundle, an unknown strategy and a name that is taken.

    Example: `group = placement_group([{"CPU": 1}] * 2, strategy="SPREAD"); shoal.get(group.ready())`
    """
    specs = _bundle_specs(bundles, bundle_label_selector)
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy must be one of {', '.join(STRATEGIES)}, not {describe(strategy)}")
    if lifetime not in (None, "detached"):
        raise ConfigError(f"lifetime must be None or 'detached', not {describe(lifetime)}")
    if not isinstance(name, str):
        raise ConfigError(f"name must be text, not {describe(name)}")
    engine = engine_or_start()
    spec = GroupSpec(
        group_id=PlacementGroupID.from_random(),
        bundles=specs,
        strategy=strategy,
        name=name,
        namespace=engine.context().namespace,
        lifetime=lifetime,
        soft_target_node=None if _soft_target_node_id is None else NodeID.from_hex(_soft_target_node_id),
    )
    engine.create_group(spec)
    return PlacementGroup(spec.group_id, [bundle.resources.to_floats() for bundle in specs])


def _bundle_specs(
    bundles: Sequence[Mapping[str, float]], selectors: Sequence[Mapping[str, str]] | None
) -> tuple[BundleSpec, ...]:
    if not isinstance(bundles, (list, tuple)) or not bundles:
        raise ConfigError(f"bundles must be a list of at least one mapping, not {describe(bundles)}")
    if selectors is not None and len(selectors) != len(bundles):
        raise ConfigError(
            f"bundle_label_selector must have one mapping per bundle: {len(selectors)} for {len(bundles)} bundles"
        )
    specs = []
    for index, bundle in enumerate(bundles):
        if not isinstance(bundle, Mapping):
            raise ConfigError(f"bundle {index} must be a mapping of resources, not {describe(bundle)}")
        resources = ResourceSet.of(bundle)
        if not resources:
            raise ConfigError(f"bundle {index} asks for nothing: {describe(bundle)}")
        specs.append(
            BundleSpec(
                index=index, resources=resources, label_selector=dict(selectors[index]) if selectors else {}
            )
        )
    return tuple(specs)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give a group's resources back. What runs in it ends; later work for it raises PlacementGroupRemoved.

    Removing it twice does nothing.
    """
    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"remove_placement_group() takes a PlacementGroup, not {describe(placement_group)}")
    engine_or_start().remove_group(placement_group.id)


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """Return the group with that name in this namespace. Raises ValueError naming those there are."""
    engine = engine_or_start()
    namespace = engine.context().namespace
    names = set()
    for group in engine.groups():
        if group["name"] and group["namespace"] == namespace and group["state"] != "REMOVED":
            if group["name"] == placement_group_name:
                return _from_record(group)
            names.add(group["name"])
    raise ValueError(
        f"no placement group is named {placement_group_name!r} in namespace {namespace!r}; "
        f"there are: {', '.join(sorted(names)) or 'none'}"
    )


def get_current_placement_group() -> PlacementGroup | None:
    """Return the group that the calling task or actor runs in, or None."""
    engine = engine_or_start()
    group_id = engine.context().group_id
    if not group_id:
        return None
    for group in engine.groups():
        if _id_of(group) == group_id:
            return _from_record(group)
    return PlacementGroup(PlacementGroupID(group_id))


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """Return one group's record, or of all groups by identifier in hexadecimal.

    A record has placement_group_id, name, namespace, strategy, state, bundles and bundles_to_node_id.
    Raises ValueError for a group that is not known.
    """
    records = {_id_of(group).hex(): _record(group) for group in engine_or_start().groups()}
    if placement_group is None:
        return records
    record = records.get(placement_group.id.hex())
    if record is None:
        raise ValueError(f"{placement_group!r} is not known to this session")
    return record


def _record(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "placement_group_id": _id_of(group).hex(),
        "name": group["name"],
        "namespace": group["namespace"],
        "strategy": group["strategy"],
        "state": group["state"],
        "bundles": {index: dict(bundle) for index, bundle in group["bundles"].items()},
        "bundles_to_node_id": dict(group["bundle_nodes"]),
    }


def _known_bundles(group_id: PlacementGroupID) -> tuple[dict[str, float], ...]:
    for group in engine_or_start().groups():
        if _id_of(group) == group_id:
            return tuple(dict(bundle) for _, bundle in sorted(group["bundles"].items()))
    raise ValueError(f"the placement group {group_id.hex()} is not known to this session")


def _from_record(group: Mapping[str, Any]) -> PlacementGroup:
    bundles = [bundle for _, bundle in sorted(group["bundles"].items())]
    return PlacementGroup(_id_of(group), bundles)


def _id_of(group: Mapping[str, Any]) -> PlacementGroupID:
    """Engines may name groups by bytes or in hexadecimal."""
    named = group["group_id"]
    return PlacementGroupID.from_hex(named) if isinstance(named, str) else PlacementGroupID(bytes(named))
