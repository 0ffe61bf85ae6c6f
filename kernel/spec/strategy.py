"""Where work would like to run."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from shoal.ids import NodeID, PlacementGroupID


@attrs.frozen
class DefaultStrategy:
    """Leave it to the scheduler plugin."""


@attrs.frozen
class SpreadStrategy:
    """Spread over nodes as evenly as can be."""


@attrs.frozen(kw_only=True)
class NodeAffinityStrategy:
    """Run on one node; `soft` lets it run elsewhere when that node is gone or can never hold it."""

    node_id: NodeID
    soft: bool = False


@attrs.frozen(kw_only=True)
class NodeLabelStrategy:
    """Run where labels match; `soft` labels are a preference. Each value lists the labels allowed."""

    hard: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, hash=False)
    soft: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class PlacementGroupStrategy:
    """Run in a bundle of a placement group; `bundle_index` −1 means any bundle."""

    group_id: PlacementGroupID
    bundle_index: int = -1
    capture_child_tasks: bool = False


Strategy = (
    DefaultStrategy | SpreadStrategy | NodeAffinityStrategy | NodeLabelStrategy | PlacementGroupStrategy
)
