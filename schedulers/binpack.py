"""BinpackScheduler: as few nodes as can be, so that an autoscaler can end the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shoal.schedulers.index import Rank
from shoal.schedulers.ranked import RankedPolicy
from shoal.schedulers.score import leftover, spare_kinds
from shoal.spec.view import NodeView


class BinpackScheduler(RankedPolicy):
    """Best fit: the node on which least of what was asked for stays free. It has no options."""

    name: ClassVar[str] = "binpack"
    takes_turns: ClassVar[bool] = False  # another empty node is begun only when the first is full
    __slots__ = ()

    def rank(self, node: NodeView, asked: Mapping[str, int]) -> Rank:
        return spare_kinds(node, asked), leftover(node, asked)
