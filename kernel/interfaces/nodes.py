"""NodeProvider: where machines come from, for an autoscaler that starts and ends them.

A machine is told apart by the name that the caller gives it: machine `i` of a launch with the key `k` is `k-i`. So a
launch that is tried again, since nobody knows what became of it, starts nothing twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.spec.resources import ResourceSet

# States of a machine
PENDING = "PENDING"  # asked for, and not up yet
RUNNING = "RUNNING"  # up, as far as its provider can tell; whether its node has joined, the cluster knows
STOPPING = "STOPPING"  # was told to end
GONE = "GONE"  # has ended, or never came up; `reason` says why. A provider may forget it at any time.
STATES: tuple[str, ...] = (PENDING, RUNNING, STOPPING, GONE)

MACHINE_LABEL = "shoal.io/machine"  # a node's label: the machine that it runs on
TYPE_LABEL = "shoal.io/node-type"


@attrs.frozen(kw_only=True)
class NodeType:
    """A kind of machine that a provider can launch, and what a node on one of them offers."""

    name: str
    resources: ResourceSet
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    least: int = 0  # machines of it that there always are
    most: int = 10
    cost: float = 1.0  # of one machine for an hour, in any currency
    idle_seconds: float | None = None  # None: as the cluster says
    options: Mapping[str, Any] = attrs.field(factory=dict, hash=False)  # what its provider wants to know


@attrs.frozen(kw_only=True)
class Machine:
    """One machine as its provider sees it."""

    machine_id: str  # the name that its launch gave it
    node_type: str
    state: str = attrs.field(validator=attrs.validators.in_(STATES))
    place: str = ""  # what the provider itself calls it: an instance, a pod, a process
    address: str = ""  # where it can be reached; "" as long as that is not known
    reason: str = ""  # why it is GONE, or what it waits for


@attrs.frozen(kw_only=True)
class NodeStart:
    """How a node on a machine is to be started: it joins the head, and says which machine it is on."""

    head_address: str  # host:port, as machines reach it
    credentials_file: str  # on the machine of the autoscaler; its content is the cluster's secret
    settings: Mapping[str, Any] = attrs.field(factory=dict, hash=False)  # more, for every node

    def words(
        self, machine_id: str, node_type: NodeType, credentials_file: str, host: str | None = None
    ) -> list[str]:
        """Return the words after `shoal` that start the node and stay with it, for a shell or an `exec`.

        `credentials_file` is the copy on the machine itself, `host` the machine's address as the others reach it.
        """
        settings: dict[str, Any] = dict(self.settings)
        units = node_type.resources.to_floats()
        settings["num_cpus"] = units.pop("CPU", 0.0)
        settings["num_gpus"] = units.pop("GPU", 0.0)
        for resource, setting in (("memory", "memory_bytes"), ("object_store_memory", "object_store_bytes")):
            if resource in units:
                settings[setting] = int(units.pop(resource))
        settings["resources"] = units
        settings["labels"] = {
            **node_type.labels,
            MACHINE_LABEL: machine_id,
            TYPE_LABEL: node_type.name,
        }
        if host:
            settings["listen_host"] = host
        words = ["start", "--block", "--json", "--address", self.head_address]
        words += ["--credentials", credentials_file]
        for name, value in sorted(settings.items()):
            words += ["--set", f"{name}={_as_setting(value)}"]
        return words


class NodeProvider(ABC):
    """Launches and ends the machines of one cluster, told from those of others by the cluster's name.

    It keeps nothing that another instance would need: a second one, made after the first has died, sees the same
    machines. Methods are called from one thread at a time, never from the head's loop. They may take long; the caller
    has bounds of its own and may never come back to a call that hangs. What fails raises NodeProviderError, with
    `permanent` set if trying again without a change of the settings cannot help.
    """

    name: ClassVar[str]
    __slots__ = ()

    @abstractmethod
    def __init__(self, cluster: str, start: NodeStart, options: Mapping[str, Any] | None = None) -> None:
        """Check the options; nothing is launched. Raises ConfigError."""

    @abstractmethod
    def check_type(self, node_type: NodeType) -> None:
        """Check the options of a node type. Raises ConfigError, naming the type, the option and what is allowed."""

    @abstractmethod
    def launch(self, node_type: NodeType, count: int, key: str) -> list[Machine]:
        """Launch `count` ≥ 1 machines, named `key-0` and so on; return those that will come, without waiting for them.

        Fewer than asked for is an answer. Those of an earlier launch with this key are returned, not launched again.
        Raises NodeProviderError if none will come, ValueError for a count below one.
        """

    @abstractmethod
    def machines(self) -> list[Machine]:
        """Return all machines of the cluster that are not forgotten. Raises NodeProviderError, and never a part."""

    @abstractmethod
    def describe(self, machine_id: str) -> Machine:
        """Return one machine. Raises KeyError if it is not known (any more), NodeProviderError."""

    @abstractmethod
    def terminate(self, machine_ids: Sequence[str]) -> None:
        """End machines, and forget those that are GONE. One that is not known is none to end. Does not wait.

        Raises NodeProviderError if one of them cannot be ended now; others may have been.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; machines go on. A second close does nothing."""


def machine_name(key: str, index: int) -> str:
    """Return the name of a machine of a launch."""
    return f"{key}-{index}"


def _as_setting(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
