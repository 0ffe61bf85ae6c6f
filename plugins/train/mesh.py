"""Which ranks work on the same rows: the arithmetic of `ScalingConfig.parallel`."""

from __future__ import annotations

import math
from collections.abc import Mapping

AXES = ("dp", "fsdp", "tp", "pp", "cp")
DATA_AXES = ("dp", "fsdp")  # along these each rank has rows of its own; along the others they share them


def data_place(mesh: Mapping[str, int], rank: int) -> tuple[int, int]:
    """Return a rank's number among those that have rows of their own, and how many these are.

    Ranks are laid out as torch's `init_device_mesh` does: the last axis runs fastest.

    Example: `data_place({"dp": 2, "tp": 2}, 3)  # (1, 2)`
    """
    number, size, left = 0, 1, math.prod(mesh.values())
    for axis, length in mesh.items():
        left //= length
        if axis in DATA_AXES:
            number = number * length + rank // left % length
            size *= length
    return number, size
