"""TpuAccelerator: Google's TPU chips, as device files and the variables of their hosts tell of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shoal.accelerators.numbers import is_number
from shoal.errors import ConfigError, describe
from shoal.interfaces.accelerator import Accelerator, Device

_VISIBLE = "TPU_VISIBLE_CHIPS"
_CHIP = re.compile(r"accel(\d+)")
_BOUNDS = {1: "1,1,1", 2: "1,2,1"}  # of the chips that a worker with fewer than all gets
_SLICE = {  # labels of a host, by the variables that Google's machines and clusters set
    "TPU_NAME": "shoal.io/tpu-slice-name",
    "TPU_WORKER_ID": "shoal.io/tpu-worker-id",
    "TPU_ACCELERATOR_TYPE": "shoal.io/tpu-pod-type",
    "TPU_TOPOLOGY": "shoal.io/tpu-topology",
}


class TpuAccelerator(Accelerator):
    """The chips of this host: /dev/accel0 and so on, or on newer hosts the numbered files of /dev/vfio.

    What kind they are and which slice the host is in comes from the variables TPU_ACCELERATOR_TYPE ("v4-16"), TPU_NAME,
    TPU_WORKER_ID and TPU_TOPOLOGY, where they are set. Chips are given whole: one, two, or all four.
    """

    name: ClassVar[str] = "tpu"
    resource: ClassVar[str] = "TPU"
    __slots__ = ("_devices",)

    def __init__(self, devices: str = "/dev") -> None:
        self._devices = devices

    def detect(self) -> Sequence[Device]:
        chips = sorted({int(match[1]) for name in _listed(self._devices) if (match := _CHIP.fullmatch(name))})
        if not chips and "TPU_ACCELERATOR_TYPE" in os.environ:  # other devices are in that folder as well
            chips = sorted(
                int(name) for name in _listed(os.path.join(self._devices, "vfio")) if name.isdigit()
            )
            chips = list(range(len(chips)))  # the files are numbered by groups, the chips from 0
        generation = os.environ.get("TPU_ACCELERATOR_TYPE", "").partition("-")[0].upper()
        kind = f"TPU-{generation}" if generation else "TPU"
        visible = os.environ.get(_VISIBLE)
        if visible is not None:
            asked = [word.strip() for word in visible.split(",") if word.strip().isdigit()]
            chips = [int(word) for word in dict.fromkeys(asked) if int(word) in chips]
        return [Device(id=str(chip), type=kind) for chip in chips]

    def quantity(self, devices: Sequence[Device]) -> float:
        return float(len(devices))

    def check(self, quantity: Any) -> None:
        if not is_number(quantity) or not 0 <= quantity < float("inf") or quantity != int(quantity):
            raise ConfigError(f"TPU must be a whole number of chips ≥ 0, not {describe(quantity)}")

    def environment(self, device_ids: Sequence[str]) -> Mapping[str, str]:
        variables = {_VISIBLE: ",".join(device_ids)}
        if len(device_ids) in _BOUNDS:
            variables["TPU_CHIPS_PER_HOST_BOUNDS"] = _BOUNDS[len(device_ids)]
            variables["TPU_HOST_BOUNDS"] = "1,1,1"
        return variables

    def type_labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        if not devices:
            return {}
        labels = {label: os.environ[name] for name, label in _SLICE.items() if os.environ.get(name)}
        return {"shoal.io/accelerator-type": devices[0].type, **labels}


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
