"""CudaAccelerator: NVIDIA devices."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from shoal.accelerators.cuda_memory import CudaMemory
from shoal.accelerators.nvidia import Gpu, find
from shoal.accelerators.whole import labelled, refuse_parts_of_several
from shoal.interfaces.accelerator import Accelerator, Device
from shoal.interfaces.checks import GOOD, WARNING, Finding
from shoal.interfaces.tensors import TensorTransport

if TYPE_CHECKING:
    from shoal.config import Config

VISIBLE = "CUDA_VISIBLE_DEVICES"
_NONE = ("", "NoDevFiles", "-1")


class CudaAccelerator(Accelerator):
    """The GPUs that CUDA_VISIBLE_DEVICES allows, or all. A GPU that is divided (MIG) counts as its parts.

    Identifiers are what the variable holds: indices, as nvidia-smi numbers them, or UUIDs, of GPUs or of MIG devices.
    """

    name: ClassVar[str] = "cuda"
    resource: ClassVar[str] = "GPU"
    __slots__ = ()

    def detect(self) -> Sequence[Device]:
        visible = os.environ.get(VISIBLE)
        if visible is not None and visible.strip() in _NONE:
            return []
        gpus = find()
        if visible is None:
            return [device for gpu in gpus for device in _devices(gpu)]
        devices: list[Device] = []
        for word in visible.split(","):
            device = _named(word.strip(), gpus)
            if device is None or device in devices:
                break  # as CUDA does: what follows a device that does not exist is not visible either
            devices.append(device)
        return devices

    def quantity(self, devices: Sequence[Device]) -> float:
        return float(len(devices))

    def check(self, quantity: float) -> None:
        refuse_parts_of_several(quantity, "num_gpus", "GPU")

    def environment(self, device_ids: Sequence[str]) -> Mapping[str, str]:
        # Without the order CUDA numbers the fastest device 0, and nvidia-smi the first on the bus.
        return {VISIBLE: ",".join(device_ids), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def type_labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        return labelled(devices)

    def tensor_transports(self) -> Sequence[TensorTransport]:
        return (CudaMemory(),)


def check(config: Config) -> Iterator[Finding]:
    """Look for `shoal doctor` whether the GPUs are there that the settings tell of."""
    found = CudaAccelerator().detect()
    names = ", ".join(f"{count} × {name}" for name, count in Counter(one.type for one in found).items())
    if config.num_gpus is not None and config.num_gpus > len(found):
        cure = f"lower num_gpus, or look at nvidia-smi and {VISIBLE}"
        yield Finding(WARNING, f"num_gpus is {config.num_gpus:g}, and {len(found)} are found", cure)
    else:
        yield Finding(GOOD, f"GPUs: {names}" if found else "no NVIDIA GPU is found, and none is asked for")


def _devices(gpu: Gpu) -> list[Device]:
    if not gpu.parts:
        return [Device(id=gpu.index, type=gpu.model, memory=gpu.memory)]
    return [Device(id=part, type=gpu.model) for part in gpu.parts]


def _named(word: str, gpus: Sequence[Gpu]) -> Device | None:
    """Return the device that a word of the variable means, named by that word; None if there is none."""
    for gpu in gpus:
        if word == gpu.index or (word.startswith("GPU-") and gpu.uuid.startswith(word)):
            return Device(id=word, type=gpu.model, memory=gpu.memory)
        if word.startswith("MIG-") and any(part.startswith(word) for part in gpu.parts):
            return Device(id=word, type=gpu.model)
    return None
