"""SpreadScheduler: all nodes alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shoal.schedulers.index import Rank
from shoal.schedulers.ranked import RankedPolicy, by_use
from shoal.spec.view import NodeView


class SpreadScheduler(RankedPolicy):
    """The node that is used least; equal ones take turns, so that work without resources goes round. No options."""

    name: ClassVar[str] = "spread"
    __slots__ = ()

    def rank(self, node: NodeView, asked: Mapping[str, int]) -> Rank:
        return by_use(node, asked)
