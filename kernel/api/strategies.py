"""Where work would like to run, as users write it, and how that becomes a strategy of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from shoal.api.groups import PlacementGroup
from shoal.errors import ConfigError, describe
from shoal.ids import NodeID
from shoal.spec.strategy import (
    DefaultStrategy,
    NodeAffinityStrategy,
    NodeLabelStrategy,
    PlacementGroupStrategy,
    SpreadStrategy,
    Strategy,
)


@attrs.frozen
class In:
    """A label has one of these values."""

    values: tuple[str, ...]

    def __init__(self, *values: str) -> None:
        self.__attrs_init__(values)  # type: ignore[attr-defined]


@attrs.frozen
class NotIn:
    """A label has none of these values."""

    values: tuple[str, ...]

    def __init__(self, *values: str) -> None:
        self.__attrs_init__(values)  # type: ignore[attr-defined]


@attrs.frozen
class Exists:
    """A label is there, whatever its value."""


@attrs.frozen
class DoesNotExist:
    """A label is not there."""


@attrs.frozen
class NodeAffinitySchedulingStrategy:
    """Run on the node with this identifier (hexadecimal); elsewhere too if `soft` and that node is gone."""

    node_id: str
    soft: bool = False


@attrs.frozen
class NodeLabelSchedulingStrategy:
    """Run where labels match: `hard` must, `soft` is a preference.

    Values are text, a list of text, `In(...)` or, in `hard`, `NotIn(...)`, `Exists()` and `DoesNotExist()`.
    Example: `NodeLabelSchedulingStrategy(hard={"zone": In("a", "b")})`
    """

    hard: Mapping[str, Any] = attrs.field(factory=dict)
    soft: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class PlacementGroupSchedulingStrategy:
    """Run in a bundle of a placement group (any bundle for −1), and what it submits as well if captured."""

    placement_group: PlacementGroup
    placement_group_bundle_index: int = -1
    placement_group_capture_child_tasks: bool | None = None


SchedulingStrategy: TypeAlias = (
    "str | NodeAffinitySchedulingStrategy | NodeLabelSchedulingStrategy | PlacementGroupSchedulingStrategy"
)


def to_strategy(value: Any) -> tuple[Strategy, dict[str, str]]:
    """Return the kernel's strategy and the label selector that goes with it. Raises ConfigError."""
    if value is None or value == "DEFAULT":
        return DefaultStrategy(), {}
    if value == "SPREAD":
        return SpreadStrategy(), {}
    if isinstance(value, NodeAffinitySchedulingStrategy):
        return NodeAffinityStrategy(node_id=_node_id(value.node_id), soft=bool(value.soft)), {}
    if isinstance(value, NodeLabelSchedulingStrategy):
        return _by_labels(value)
    if isinstance(value, PlacementGroupSchedulingStrategy):
        return in_group(
            value.placement_group,
            value.placement_group_bundle_index,
            value.placement_group_capture_child_tasks,
        ), {}
    raise ConfigError(
        "scheduling_strategy must be 'DEFAULT', 'SPREAD', a NodeAffinitySchedulingStrategy, a "
        f"NodeLabelSchedulingStrategy or a PlacementGroupSchedulingStrategy, not {describe(value)}"
    )


def in_group(group: Any, index: Any, capture: bool | None) -> PlacementGroupStrategy:
    """Return the strategy for one bundle of a group. Raises ConfigError for a bundle that it has not."""
    if not isinstance(group, PlacementGroup):
        raise ConfigError(f"placement_group must be a PlacementGroup, not {describe(group)}")
    if isinstance(index, bool) or not isinstance(index, int) or index < -1:
        raise ConfigError(
            f"placement_group_bundle_index must be −1 or a bundle's index, not {describe(index)}"
        )
    if group.bundle_count and index >= group.bundle_count:
        raise ConfigError(
            f"placement_group_bundle_index is {index}, but the group has bundles 0 to {group.bundle_count - 1}"
        )
    return PlacementGroupStrategy(group_id=group.id, bundle_index=index, capture_child_tasks=bool(capture))


def _node_id(text: Any) -> NodeID:
    try:
        return text if isinstance(text, NodeID) else NodeID.from_hex(text)
    except (TypeError, ValueError):
        raise ConfigError(
            f"node_id must be a node's identifier in hexadecimal as shoal.nodes() shows it, not {describe(text)}"
        ) from None


def _by_labels(value: NodeLabelSchedulingStrategy) -> tuple[Strategy, dict[str, str]]:
    hard: dict[str, tuple[str, ...]] = {}
    selector: dict[str, str] = {}
    for label, wanted in value.hard.items():
        if isinstance(wanted, NotIn):
            selector[label] = f"!in({','.join(_texts(label, wanted.values))})"
        elif isinstance(wanted, (Exists, DoesNotExist)):
            selector[_label(label)] = "*" if isinstance(wanted, Exists) else "!*"
        else:
            hard[label] = _allowed(label, wanted)
    soft = {label: _allowed(label, wanted) for label, wanted in value.soft.items()}
    if not value.hard and not soft:
        raise ConfigError("NodeLabelSchedulingStrategy needs at least one label in hard or soft")
    return NodeLabelStrategy(hard=hard, soft=soft), selector


def _allowed(label: str, wanted: Any) -> tuple[str, ...]:
    if isinstance(wanted, In):
        return _texts(label, wanted.values)
    return _texts(label, (wanted,) if isinstance(wanted, str) else wanted)


def _label(label: Any) -> str:
    if not isinstance(label, str) or not label:
        raise ConfigError(f"a label's name must be text, not {describe(label)}")
    return label


def _texts(label: Any, values: Any) -> tuple[str, ...]:
    good = isinstance(values, (list, tuple)) and values and all(isinstance(value, str) for value in values)
    if not isinstance(label, str) or not good:
        raise ConfigError(
            f"label {describe(label)}: the values must be text, In(...) or, in hard, NotIn(...), Exists() or "
            f"DoesNotExist(), not {describe(values)}"
        )
    return tuple(values)
