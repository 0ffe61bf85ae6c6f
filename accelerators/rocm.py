"""RocmAccelerator: AMD devices, as the kernel's driver tells of them in /sys."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import ClassVar

from shoal.accelerators.whole import labelled, refuse_parts_of_several
from shoal.interfaces.accelerator import Accelerator, Device

TOPOLOGY = "/sys/class/kfd/kfd/topology/nodes"
_LOWER = "ROCR_VISIBLE_DEVICES"  # what the runtime shows; the other counts what is left of that
_VISIBLE = "HIP_VISIBLE_DEVICES"
_MODELS = {  # by the PCI identifier of the device
    0x738C: "AMD-Instinct-MI100",
    0x7408: "AMD-Instinct-MI250X",
    0x740C: "AMD-Instinct-MI250X-MI250",
    0x740F: "AMD-Instinct-MI210",
    0x74A0: "AMD-Instinct-MI300A",
    0x74A1: "AMD-Instinct-MI300X-OAM",
    0x74A5: "AMD-Instinct-MI325X-OAM",
}


class RocmAccelerator(Accelerator):
    """The AMD GPUs that ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES allow, or all.

    Nothing has to be installed: the driver's own list is read. Name it in the setting `accelerators` in the place of
    "cuda", which provides the same resource.
    """

    name: ClassVar[str] = "rocm"
    resource: ClassVar[str] = "GPU"
    __slots__ = ("_topology",)

    def __init__(self, topology: str = TOPOLOGY) -> None:
        self._topology = topology

    def detect(self) -> Sequence[Device]:
        found = _nodes(self._topology)
        for variable in (_LOWER, _VISIBLE):
            found = [device for _, device in _allowed(os.environ.get(variable), found)]
            # Who counts next, counts what is left.
            found = [
                Device(id=str(place), type=one.type, memory=one.memory) for place, one in enumerate(found)
            ]
        shown = os.environ.get(_VISIBLE)
        words = [] if shown is None else [word.strip() for word in shown.split(",")]
        # Identifiers are what the variable holds, so that one process' can be given to another as they are.
        return [
            Device(id=words[place] if words else one.id, type=one.type, memory=one.memory)
            for place, one in enumerate(found)
        ]

    def quantity(self, devices: Sequence[Device]) -> float:
        return float(len(devices))

    def check(self, quantity: float) -> None:
        refuse_parts_of_several(quantity, "num_gpus", "GPU")

    def environment(self, device_ids: Sequence[str]) -> Mapping[str, str]:
        return {_VISIBLE: ",".join(device_ids)}

    def type_labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        return labelled(devices)


def _allowed(value: str | None, devices: Sequence[Device]) -> list[tuple[str, Device]]:
    """The devices that a variable names, by their places; what follows one that does not exist is not visible."""
    if value is None:
        return [(device.id, device) for device in devices]
    found: dict[str, Device] = {}
    for word in (word.strip() for word in value.split(",")):
        if not word.isdigit() or int(word) >= len(devices) or word in found:
            break
        found[word] = devices[int(word)]
    return list(found.items())


def _nodes(folder: str) -> list[Device]:
    """The GPUs among the nodes of the driver's topology; processors are nodes without compute units."""
    found: list[Device] = []
    with contextlib.suppress(OSError):
        for place in sorted((name for name in os.listdir(folder) if name.isdigit()), key=int):
            facts = _facts(os.path.join(folder, place, "properties"))
            if not facts.get("simd_count"):
                continue
            memory = 0
            banks = os.path.join(folder, place, "mem_banks")
            with contextlib.suppress(OSError):
                memory = sum(
                    bank.get("size_in_bytes", 0)
                    for bank in (
                        _facts(os.path.join(banks, name, "properties")) for name in os.listdir(banks)
                    )
                    if bank.get("heap_type") in (1, 2)  # the device's own, seen by the processor or not
                )
            model = _MODELS.get(facts.get("device_id", 0), "AMD-GPU")
            found.append(Device(id=str(len(found)), type=model, memory=memory))
    return found


def _facts(path: str) -> dict[str, int]:
    facts: dict[str, int] = {}
    with contextlib.suppress(OSError), open(path) as file:
        for line in file:
            name, _, value = line.strip().partition(" ")
            if value.isdigit():
                facts[name] = int(value)
    return facts
