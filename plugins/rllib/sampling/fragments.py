"""Stretches of play as they were seen, for learners that correct what older policies did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal.rllib.modules.actor_critic import ArrayPolicy
from shoal.rllib.sampling.runner import EnvRunner


class FragmentRunner(EnvRunner):
    """Plays as an `EnvRunner`, and returns stretches: steps in rows, environments in columns."""

    def sample(self, arrays: dict[str, Any], steps: int) -> dict[str, Any]:
        """Play `steps` steps of each environment with these weights; return the stretch.

        `cuts` are (step, environment, observation) of episodes that were cut short, `last` is what is acted on next.
        Raises ValueError for an environment that breaks its own rules, naming the step.
        """
        seen = self.play(ArrayPolicy(arrays), steps)
        return {
            "observations": seen.observations,
            "actions": np.stack(seen.actions),
            "log_probabilities": np.stack(seen.log_probabilities).astype(np.float32),
            "rewards": seen.rewards,
            "terminated": seen.terminated,
            "ended": seen.ended,
            "last": seen.last,
            "cuts": seen.cuts,
            "episodes": seen.episodes,
        }


def beside(fragments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return stretches of equal length as one, their environments beside one another.

    Example: `beside([first, second])["rewards"].shape  # (50, 2)`
    """
    made: dict[str, Any] = {
        name: np.concatenate([each[name] for each in fragments], axis=1)
        for name in ("observations", "actions", "log_probabilities", "rewards", "terminated", "ended")
    }
    made["last"] = np.concatenate([each["last"] for each in fragments])
    starts = np.cumsum([0, *(each["rewards"].shape[1] for each in fragments)])
    made["cuts"] = [
        (step, int(start) + place, observation)
        for start, each in zip(starts, fragments, strict=False)
        for step, place, observation in each["cuts"]
    ]
    return made
