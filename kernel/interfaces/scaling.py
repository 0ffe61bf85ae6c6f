"""Scaling: what a cluster needs and has, as an autoscaler sees it, and the choice between more and fewer machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import attrs

from shoal.interfaces.nodes import NodeType
from shoal.spec.resources import ResourceSet

if TYPE_CHECKING:
    from shoal.config import Config


@attrs.frozen(kw_only=True)
class Need:
    """Something that waits for resources, `count` times. Several with the same `group` are met together or not at all;
    those with the same `apart` need different nodes.
    """

    resources: ResourceSet
    count: int = 1
    selector: Mapping[str, str] = attrs.field(factory=dict, hash=False)  # of labels
    what: str = ""  # for people
    group: str = ""
    apart: str = ""
    waited: float = 0.0  # seconds, as far as the autoscaler has seen


@attrs.frozen(kw_only=True)
class ScalingNode:
    """A living node of the cluster."""

    node_id: str  # hexadecimal
    machine_id: str  # "" for one that no autoscaler has started
    node_type: str
    total: ResourceSet
    available: ResourceSet
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    draining: bool = False
    in_use: str = ""  # what it is needed for, for people; "" if it could end now without a loss
    version: int = (
        0  # of the head's record of it: the same number means that nothing has happened there since
    )


@attrs.frozen(kw_only=True)
class ScalingView:
    """The cluster at one moment."""

    nodes: Sequence[ScalingNode] = ()
    needs: Sequence[Need] = ()  # what waits
    requests: Sequence[Need] = ()  # what the cluster is to have room for, in use or not: `request_resources`


class ScalingLink(ABC):
    """A living session, as its autoscaler and those who ask for machines reach it. From any thread.

    All raise SystemFailure or GetTimeout if the session does not answer.
    """

    __slots__ = ()

    @abstractmethod
    def view(self) -> ScalingView:
        """Return what there is and what waits now."""

    @abstractmethod
    def lead(self, owner: bytes, seconds: float, types: Sequence[NodeType]) -> bool:
        """Be the cluster's only autoscaler for `seconds`, and say what it can launch; False if another one is."""

    @abstractmethod
    def step_down(self, owner: bytes) -> None:
        """Be the autoscaler no more. Does nothing if it was another."""

    @abstractmethod
    def tell(self, owner: bytes, report: Mapping[str, Any]) -> None:
        """Leave a report for `shoal status`: plain data. Ignored if another one leads."""

    @abstractmethod
    def told(self) -> Mapping[str, Any] | None:
        """Return the last report, None if there was none."""

    @abstractmethod
    def drain(self, node_id: str) -> bool:
        """Give a node no new work; return whether it got some before."""

    @abstractmethod
    def request(self, needs: Sequence[Need]) -> None:
        """Replace what the cluster is to have room for."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the session. A second close does nothing."""


@runtime_checkable
class SupportsScaling(Protocol):
    """An engine whose sessions can grow and shrink."""

    @abstractmethod
    def scaling(self) -> ScalingLink:
        """Return the link to this engine's session; closing it leaves the session alone."""

    @classmethod
    @abstractmethod
    def scaling_of(cls, config: Config) -> ScalingLink:
        """Return a link to the cluster at `config.address`, of which a node runs here. Raises ConfigError."""


class ScalingPolicy(ABC):
    """Decides between waiting and cost: what to make room for, and when to let go. Pure: it reads no clock.

    Called by one thread at a time. Equal questions get equal answers.
    """

    name: ClassVar[str]
    __slots__ = ()

    @abstractmethod
    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        """Check the options. Raises ConfigError."""

    @abstractmethod
    def needs(self, view: ScalingView) -> Sequence[Need]:
        """Return what to make room for now, of `view.needs` and beyond."""

    @abstractmethod
    def idle_seconds(self, node_type: NodeType, seconds: float) -> float:
        """Return how long a machine of a type stays idle before it ends, where the settings say `seconds`."""
