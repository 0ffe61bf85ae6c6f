"""CpuAccelerator: processor cores."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import ClassVar

from shoal.accelerators.cgroup import Limits
from shoal.accelerators.main_memory import MainMemory
from shoal.accelerators.numbers import is_number
from shoal.errors import ConfigError, describe
from shoal.interfaces.accelerator import Accelerator, Device
from shoal.interfaces.tensors import TensorTransport


class CpuAccelerator(Accelerator):
    """The cores that this process may run on, as many as its control group gives time for (at least one).

    Workers share cores: what they get is a share of time, so any fraction may be asked for, and `environment` says to
    numerical libraries how many threads are worth starting.
    """

    name: ClassVar[str] = "cpu"
    resource: ClassVar[str] = "CPU"
    __slots__ = ("_limits",)

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def detect(self) -> Sequence[Device]:
        cores = sorted(os.sched_getaffinity(0))
        allowed = self._limits.cpus()
        count = len(cores) if allowed is None else max(1, min(len(cores), math.floor(allowed)))
        return [Device(id=str(core)) for core in cores[:count]]

    def quantity(self, devices: Sequence[Device]) -> float:
        return float(len(devices))

    def check(self, quantity: float) -> None:
        if not is_number(quantity) or not 0 <= quantity < math.inf:
            raise ConfigError(f"num_cpus must be a number ≥ 0, got {describe(quantity)}")

    def environment(self, device_ids: Sequence[str]) -> Mapping[str, str]:
        return {"OMP_NUM_THREADS": str(max(1, len(device_ids)))}

    def type_labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        return {}

    def tensor_transports(self) -> Sequence[TensorTransport]:
        return (MainMemory(),)

    def memory(self) -> int:
        """Return the bytes of memory that this machine, or container, may use."""
        return self._limits.memory()

    def memory_used(self) -> int:
        """Return the bytes of it that are in use and cannot be dropped."""
        return self._limits.memory_used()
