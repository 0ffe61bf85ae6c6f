"""What is derived from a template once, and used for every call."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from shoal.native.wire import kinds
from shoal.serial import dump_function
from shoal.spec.calls import ActorTemplate, MethodTemplate, TaskTemplate
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import (
    NodeAffinityStrategy,
    NodeLabelStrategy,
    PlacementGroupStrategy,
    SpreadStrategy,
    Strategy,
)

if TYPE_CHECKING:
    from shoal.interfaces.refs import ObjectRef
    from shoal.native.client.client import Client
    from shoal.native.client.peers import Peer
    from shoal.native.client.records import Task

SINGLE, NONE, SEVERAL, DYNAMIC, STREAMING = range(5)
_numbers = itertools.count(1)


class SchedulingClass:
    """Calls that any worker of one kind can serve: same resources, strategy and environment."""

    __slots__ = (
        "average",
        "certificate",
        "depth",
        "key",
        "leases",
        "message",
        "problem",
        "queue",
        "wanted",
        "wire",
    )

    def __init__(self, key: bytes, wire: dict[str, Any]) -> None:
        self.key = key
        self.wire: dict[str, Any] | None = wire  # until the daemon knows it
        self.queue: deque[Task] = deque()
        self.leases: list[Any] = []
        self.wanted = 0  # how many leases the daemon believes we want
        self.average = -1.0  # microseconds a call takes; below zero: unknown
        self.depth = 1  # calls that may wait at one worker
        self.problem = ""  # why the daemon cannot serve it
        self.message = ""
        self.certificate: Any = None


class PreparedFunction:
    """A task template, ready to be sent: the function is pickled once, here."""

    __slots__ = (
        "backpressure",
        "captured",
        "count",
        "function",
        "info",
        "key",
        "klass",
        "max_retries",
        "mode",
        "name",
        "pickled",
        "retry_exceptions",
    )

    def __init__(self, client: Client, template: TaskTemplate) -> None:
        captured: list[ObjectRef[Any]] = []
        self.pickled = dump_function(template.function, captured)
        self.captured = captured  # references that the function closes over, held as long as it can be called
        self.function = template.function
        self.key = next(_numbers)
        self.name = template.name
        self.mode, self.count = mode_of(template.num_returns)
        self.max_retries = template.max_retries
        self.retry_exceptions = template.retry_exceptions
        self.backpressure = template.backpressure
        self.info = {
            "name": template.name,
            "mode": self.mode,
            "count": self.count,
            "max_calls": template.max_calls,
            "backpressure": template.backpressure,
            "module": getattr(template.function, "__module__", ""),
        }
        self.klass = client.scheduling_class(template)

    def announce(self, client: Client, peer: Peer) -> None:
        """Send the function to a worker that does not have it."""
        captured = client.objects.give(self.captured, peer.worker_id) if self.captured else None
        client.peers.send(peer, [kinds.FUNCTION, self.key, self.pickled, self.info, captured])
        peer.functions.add(self.key)


class PreparedMethod:
    """A method template, ready to be called."""

    __slots__ = (
        "backpressure",
        "count",
        "function",
        "group",
        "key",
        "max_retries",
        "mode",
        "name",
        "retry_exceptions",
        "wire",
    )

    def __init__(self, template: MethodTemplate, class_name: str, max_task_retries: int) -> None:
        self.function = None
        self.key = template.name
        self.name = f"{class_name}.{template.display_name or template.name}"
        self.mode, self.count = mode_of(template.num_returns)
        given = template.max_task_retries
        self.max_retries = max_task_retries if given is None else given
        self.retry_exceptions = template.retry_exceptions
        self.backpressure = template.backpressure
        self.group = template.concurrency_group
        wire: dict[str, Any] = {}
        if self.mode != SINGLE:
            wire["m"] = self.mode
            wire["n"] = self.count
        if self.group:
            wire["g"] = self.group
        if self.backpressure:
            wire["bp"] = self.backpressure
        self.wire = wire or None


def mode_of(num_returns: Any) -> tuple[int, int]:
    """Return (how results come, how many) for `num_returns`."""
    if num_returns == "streaming":
        return STREAMING, 0
    if num_returns == "dynamic":
        return DYNAMIC, 1
    if num_returns == 1:
        return SINGLE, 1
    if num_returns == 0:
        return NONE, 0
    return SEVERAL, int(num_returns)


def strategy_to_wire(strategy: Strategy) -> list[Any]:
    """Return a strategy as plain data."""
    if isinstance(strategy, SpreadStrategy):
        return ["spread"]
    if isinstance(strategy, NodeAffinityStrategy):
        return ["node", bytes(strategy.node_id), strategy.soft]
    if isinstance(strategy, NodeLabelStrategy):
        return ["labels", dict(strategy.hard), dict(strategy.soft)]
    if isinstance(strategy, PlacementGroupStrategy):
        return ["group", bytes(strategy.group_id), strategy.bundle_index, strategy.capture_child_tasks]
    return ["default"]


def demand_to_wire(
    resources: ResourceSet,
    strategy: Strategy,
    labels: Any,
    environment: dict[str, Any],
    name: str,
    retriable: bool,
) -> tuple[bytes, dict[str, Any]]:
    """Return (key, description) of a scheduling class. Equal descriptions have equal keys, names aside."""
    wire: dict[str, Any] = {
        "resources": dict(sorted(resources.units.items())),
        "strategy": strategy_to_wire(strategy),
        "labels": dict(sorted(labels.items())),
        "environment": environment,
        "retriable": retriable,
    }
    encoded = msgspec.msgpack.encode(wire)
    key = hashlib.blake2b(encoded, digest_size=8).digest()
    wire["name"] = name
    return key, wire


def actor_to_wire(template: ActorTemplate) -> dict[str, Any]:
    """Return what the worker must know of an actor's options."""
    return {
        "class_name": template.class_name,
        "async": template.is_async,
        "max_concurrency": template.max_concurrency,
        "groups": dict(template.concurrency_groups),
        "durable": None if template.durability is None else list(attrs.astuple(template.durability)),
    }
