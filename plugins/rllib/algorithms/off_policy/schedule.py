"""Numbers that change with the steps that were played."""

from __future__ import annotations

from typing import Any

import numpy as np

from shoal.errors import ConfigError, describe


def checked(name: str, value: Any) -> Any:
    """Return a schedule: a number, or pairs of a step and a number. Raises ConfigError for anything else.

    Example: `checked("epsilon", [(0, 1.0), (10_000, 0.05)])`
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    try:
        pairs = [(int(step), float(number)) for step, number in value]
    except (TypeError, ValueError):
        pairs = []
    if not pairs or pairs != sorted(pairs, key=lambda pair: pair[0]):
        raise ConfigError(
            f"{name} must be a number or pairs of a step and a number, by rising steps, not {describe(value)}"
        )
    return pairs


def at_step(schedule: Any, step: int) -> float:
    """Return a schedule's number after some steps: between two pairs on the line through them.

    Example: `at_step([(0, 1.0), (100, 0.0)], 25)  # 0.75`
    """
    if isinstance(schedule, float):
        return schedule
    steps, numbers = zip(*schedule, strict=True)
    return float(np.interp(step, steps, numbers))
