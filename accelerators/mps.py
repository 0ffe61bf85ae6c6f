"""MpsAccelerator: the GPU of a Mac with Apple's processor, which torch calls "mps"."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import ClassVar

from shoal.accelerators.whole import labelled, refuse_parts_of_several
from shoal.interfaces.accelerator import Accelerator, Device

_SECONDS = 5.0


class MpsAccelerator(Accelerator):
    """One device, that shares the machine's memory. No variable hides it: who is given none must not use it."""

    name: ClassVar[str] = "mps"
    resource: ClassVar[str] = "GPU"
    __slots__ = ("_program",)

    def __init__(self, program: str = "sysctl") -> None:
        self._program = program

    def detect(self) -> Sequence[Device]:
        brand = self._ask("machdep.cpu.brand_string")
        if brand is None or not brand.startswith("Apple "):
            return []
        memory = self._ask("hw.memsize") or ""
        model = brand.removeprefix("Apple ").replace(" ", "-")
        return [Device(id="0", type=model, memory=int(memory) if memory.isdigit() else 0)]

    def quantity(self, devices: Sequence[Device]) -> float:
        return float(len(devices))

    def check(self, quantity: float) -> None:
        refuse_parts_of_several(quantity, "num_gpus", "GPU")

    def environment(self, device_ids: Sequence[str]) -> Mapping[str, str]:
        return {}

    def type_labels(self, devices: Sequence[Device]) -> Mapping[str, str]:
        return labelled(devices)

    def _ask(self, name: str) -> str | None:
        try:
            done = subprocess.run(
                [self._program, "-n", name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None
