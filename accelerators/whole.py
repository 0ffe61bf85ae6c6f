"""How much of devices can be asked for: whole ones, or a share of one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from shoal.accelerators.numbers import is_number
from shoal.errors import ConfigError, describe
from shoal.interfaces.accelerator import Device


def refuse_parts_of_several(quantity: object, what: str, one: str) -> None:
    """Raise ConfigError unless it is a whole number ≥ 0, or a share of one.

    Example: `refuse_parts_of_several(1.5, "num_gpus", "GPU")`
    """
    if (
        not is_number(quantity)
        or not 0 <= quantity < math.inf  # type: ignore[operator]
        or (quantity > 1 and quantity != int(quantity))  # type: ignore[operator,call-overload]
    ):
        raise ConfigError(
            f"{what} must be a whole number, or a share of one {one} that is less than 1, got {describe(quantity)}"
        )


def labelled(devices: Sequence[Device]) -> Mapping[str, str]:
    """Return the label that says which type most of the devices are of.

    Example: `labelled([Device(id="0", type="H100")])  # {"shoal.io/accelerator-type": "H100"}`
    """
    types = Counter(device.type for device in devices if device.type)
    if not types:
        return {}
    return {"shoal.io/accelerator-type": max(sorted(types), key=lambda each: types[each])}
