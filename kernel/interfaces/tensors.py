"""TensorTransport: how tensors that stay in the process that made them get to another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import attrs


@attrs.frozen(kw_only=True)
class Taker:
    """The process that asks for tensors."""

    same_node: bool
    reaches: frozenset[str] = frozenset()  # names of the transports whose `reaches` is true there


class TensorTransport(ABC):
    """One way, of one kind of device. An accelerator offers it (`Accelerator.tensor_transports`).

    The process that made a tensor calls `offer`, in a thread beside what it does, each time another process asks.
    What `offer` returns travels as any value, and the other process calls `take` with it. The tensor is kept until
    `take` has returned, so it may be read by its place; from then on neither may touch the other's memory.
    """

    name: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()  # further names it answers to, e.g. the reference's
    __slots__ = ()

    @abstractmethod
    def check(self) -> None:
        """Raise ConfigError where tensors cannot be kept by this process, e.g. because it sees no device."""

    @abstractmethod
    def keeps(self, value: Any) -> bool:
        """Tell whether a value is a tensor that stays where it is. Called for each part of a result: must be cheap."""

    @abstractmethod
    def reaches(self) -> bool:
        """Tell whether this process can take from the memory of another one on the same machine."""

    @abstractmethod
    def offer(self, tensor: Any, taker: Taker) -> Any:
        """Return what the other process needs: the tensor's place, or its bytes. It must be finished by then."""

    @abstractmethod
    def take(self, offered: Any) -> Any:
        """Return the tensor that was offered, as this process's own."""
