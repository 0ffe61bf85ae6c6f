"""Accelerator: what a kind of device offers, and how a worker is given some of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from shoal.interfaces.tensors import TensorTransport


@attrs.frozen(kw_only=True)
class Device:
    """One device of this machine."""

    id: str  # as the visible-devices variable names it
    type: str = ""  # model, e.g. "H100"
    memory: int = 0  # bytes, 0 if unknown


class Accelerator(ABC):
    """One kind of device. Detection may ask the system but never waits longer than a few seconds, and never raises
    because a tool or driver is missing: no device is the answer then.
    """

    name: ClassVar[str]
    resource: ClassVar[str]  # the resource it provides, e.g. "GPU"
    __slots__ = ()

    @abstractmethod
    def detect(self) -> Sequence[Device]:
        """Return this machine's devices, honouring a visible-devices variable that is already set."""

    @abstractmethod
    def quantity(self, devices: Sequence[Device]) -> float:
        """Return how much of `resource` these devices are."""

    @abstractmethod
    def check(self, quantity: float) -> None:
        """Raise ConfigError if that much cannot be asked for (e.g. 1.5 GPUs), saying what can."""

    @abstractmethod
    def environment(self, device_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the variables a worker must have to see exactly these devices (none of them if empty)."""

    @abstractmethod
    def type_labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        """Return node labels that say which types there are, e.g. {"shoal.io/accelerator-type": "H100"}."""

    def tensor_transports(self) -> Sequence[TensorTransport]:
        """Return how tensors on these devices get from process to process. None, unless a kind of device says so."""
        return ()
