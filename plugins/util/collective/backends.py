"""What can carry collective operations, by name."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from shoal.errors import ConfigError, describe

if TYPE_CHECKING:
    from shoal.util.collective.types import ReduceOp


class CollectiveGroup(ABC):
    """The part of one process in a group. Tensors are changed in place; every member makes the same calls in order."""

    def __init__(self, world_size: int, rank: int, group_name: str, timeout_ms: int) -> None:
        self.world_size = world_size
        self.rank = rank
        self.group_name = group_name
        self.timeout_ms = timeout_ms

    @abstractmethod
    def allreduce(self, tensor: Any, op: ReduceOp) -> None:
        """Put the values of all members together, at each of them."""

    @abstractmethod
    def reduce(self, tensor: Any, dst_rank: int, op: ReduceOp) -> None:
        """Put the values of all members together, at one."""

    @abstractmethod
    def broadcast(self, tensor: Any, src_rank: int) -> None:
        """Copy one member's values to all."""

    @abstractmethod
    def allgather(self, tensor_list: list[Any], tensor: Any) -> None:
        """Fill the list with the values of all members, at each of them."""

    @abstractmethod
    def reducescatter(self, tensor: Any, tensor_list: list[Any], op: ReduceOp) -> None:
        """Put the lists of all members together, and leave each member the part with its rank."""

    @abstractmethod
    def send(self, tensor: Any, dst_rank: int) -> None:
        """Send values to one member."""

    @abstractmethod
    def recv(self, tensor: Any, src_rank: int) -> None:
        """Receive values from one member."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait until all members are here."""

    @abstractmethod
    def destroy_group(self) -> None:
        """Leave the group."""


class MakesGroup(Protocol):
    """A class of groups, or a function that makes one."""

    def __call__(self, world_size: int, rank: int, group_name: str, timeout_ms: int) -> CollectiveGroup:
        """Join the group and return this process's part in it."""
        ...


_own: dict[str, MakesGroup] = {}


def register_collective_backend(name: str, group_cls: MakesGroup) -> None:
    """Add a backend of your own, in this process: each member registers it. Raises ConfigError for a name in use."""
    if not str(name).isidentifier():
        raise ConfigError(f"a backend's name must be a word, not {describe(name)}")
    upper = name.upper()
    if upper in known_backends() and _own.get(upper) is not group_cls:
        raise ConfigError(f"there is a collective backend {upper} already")
    if not callable(group_cls):
        raise ConfigError(f"group_cls must be a class of groups, not {describe(group_cls)}")
    _own[upper] = group_cls


def known_backends() -> list[str]:
    """Return the names of all backends that there are."""
    return ["GLOO", "NCCL", *_own]


def own_backend(name: str) -> MakesGroup | None:
    """Return a backend that was registered, or None."""
    return _own.get(name)


def torch_has(name: str) -> bool:
    """Tell whether torch is here and was built with the library of a backend."""
    if importlib.util.find_spec("torch") is None:
        return False
    distributed: Any = importlib.import_module("torch.distributed")
    if not distributed.is_available():
        return False
    return bool(distributed.is_gloo_available() if name == "GLOO" else distributed.is_nccl_available())
