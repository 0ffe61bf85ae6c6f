"""What values should have been."""

from __future__ import annotations

from typing import Any

import numpy as np


def compute_value_targets(
    values: Any, rewards: Any, terminateds: Any, truncateds: Any, gamma: float, lambda_: float
) -> Any:
    """Return targets of values by generalised advantage estimation (Schulman et al., 2016), a number a step.

    Rows are steps of episodes one behind the other. The last row of each is marked in `truncateds` and is not played:
    its value is of what came of the step before, unless that step is marked in `terminateds`.

    Parameters: arrays of one dimension; `gamma` and `lambda_` are from 0 to 1.

    Example: `compute_value_targets(np.zeros(2), np.ones(2), np.zeros(2), np.array([0, 1]), 0.9, 1.0)  # [1., 0.]`
    """
    rows = len(values)
    following = np.append(values[1:], 0.0)
    going_on = 1.0 - np.asarray(terminateds, np.float64)
    within = 1.0 - np.asarray(truncateds, np.float64)
    errors = (np.asarray(rewards, np.float64) + gamma * following * going_on - values) * within
    # What is passed back: nothing over an end, or from the row that is not played.
    passed = gamma * lambda_ * going_on * within
    advantages = np.zeros(rows)
    behind = 0.0
    for row in range(rows - 1, -1, -1):
        behind = errors[row] + passed[row] * behind
        advantages[row] = behind
    return (advantages + values).astype(np.float32)
