"""Scheduler: decides which node work goes to. A pure policy: it sees values and returns values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.spec.view import ClusterView, Decision, Demand, GroupDecision, GroupSpec


class Scheduler(ABC):
    """Places tasks, actors and bundles. Called by one thread at a time; does no I/O, reads no clock.

    The same demand, view and options give the same answer. A scheduler never answers with a node that is dead,
    draining or too small, and Infeasible only if no node that lives, were it empty, could hold the demand.
    `options` are the driver's own, checked by it: an unknown one raises ConfigError.
    """

    name: ClassVar[str]
    __slots__ = ()

    @abstractmethod
    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """Check the options. Raises ConfigError."""

    @abstractmethod
    def place(self, demand: Demand, view: ClusterView) -> Decision:
        """Answer Placement, Wait or Infeasible for one task, actor or lease."""

    @abstractmethod
    def place_group(self, spec: GroupSpec, view: ClusterView) -> GroupDecision:
        """Answer for all bundles of a group at once: all are placed together or none is."""
