"""How much better than expected actions were."""

from __future__ import annotations

from typing import Any

import numpy as np


def generalised_advantages(
    rewards: Any, values: Any, next_values: Any, terminated: Any, ended: Any, gamma: float, lambda_: float
) -> Any:
    """Return generalised advantage estimates (Schulman et al., 2016), for steps in rows and environments in columns.

    Parameters: `values` are of the observations that were acted on, `next_values` of those that came of it: where an
    episode was cut short by a limit of time the value of its last observation counts, where it terminated nothing does.
    `ended` tells for each step whether an episode was over after it, for whatever reason.

    Example: `generalised_advantages(rewards, values, next_values, terminated, ended, 0.99, 0.95)`
    """
    deltas = rewards + gamma * next_values * (1.0 - terminated) - values
    made = np.zeros_like(deltas)
    running = np.zeros(deltas.shape[1], dtype=deltas.dtype)
    for step in range(len(deltas) - 1, -1, -1):
        running = deltas[step] + gamma * lambda_ * (1.0 - ended[step]) * running
        made[step] = running
    return made
