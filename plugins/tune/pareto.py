"""The Pareto front: what nothing else beats in every objective."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe

__all__ = ["front"]


def front(rows: Sequence[Mapping[str, Any]], objectives: Mapping[str, str]) -> list[int]:
    """Return the positions of the rows that no other row beats: as good in all objectives, and better in one.

    What is no number in an objective is never in the front. Raises ConfigError for modes other than "max" and "min".

    Example: `front([{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 0, "b": 0}], {"a": "max", "b": "max"})  # [0, 1]`
    """
    if not objectives:
        raise ConfigError("a front needs at least one objective: {'accuracy': 'max'}")
    for name, mode in objectives.items():
        if mode not in ("max", "min"):
            raise ConfigError(f"the objective {name!r} must be 'max' or 'min', not {describe(mode)}")
    signs = {name: 1.0 if mode == "max" else -1.0 for name, mode in objectives.items()}
    points = [tuple(signs[name] * float(row[name]) for name in signs) for row in rows]
    valid = [index for index, point in enumerate(points) if not any(map(math.isnan, point))]
    # The best first by the first objective: only what comes before can beat what comes after.
    chosen: list[int] = []
    for index in sorted(valid, key=lambda each: points[each], reverse=True):
        point = points[index]
        if not any(
            all(theirs >= ours for theirs, ours in zip(points[other], point, strict=True))
            and points[other] != point
            for other in chosen
        ):
            chosen.append(index)
    return sorted(chosen)
