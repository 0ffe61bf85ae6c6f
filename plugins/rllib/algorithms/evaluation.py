"""Playing without learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.multi_agent.environment import ALL


def played(
    env: gymnasium.Env[Any, Any],
    act: Callable[[Any], Any],
    duration: int,
    unit: str,
    seed: int | None,
    begin: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Play an environment with `act` for so many "episodes" or "timesteps", and close it; return what came of it.

    `begin` is called at the beginning of each episode.

    Example: `played(gymnasium.make("CartPole-v1"), lambda seen: 0, 3, "episodes", seed=1)["episode_return_mean"]`
    """
    returns: list[float] = []
    lengths: list[int] = []
    steps = 0
    total, length = 0.0, 0
    try:
        observation, _ = env.reset(seed=seed)
        begin()
        while (len(returns) if unit == "episodes" else steps) < duration:
            told: Any = env.step(act(observation))
            observation, reward, over = told[0], told[1], told[2] or told[3]
            if isinstance(reward, Mapping):  # of several agents
                reward, over = sum(reward.values()), told[2].get(ALL) or told[3].get(ALL)
            steps, total, length = steps + 1, total + float(reward), length + 1
            if over:
                returns.append(total)
                lengths.append(length)
                total, length = 0.0, 0
                observation, _ = env.reset()
                begin()
    finally:
        env.close()
    known: list[float] = returns or [float("nan")]
    return {
        "episode_return_mean": float(np.mean(known)),
        "episode_return_max": float(np.max(known)),
        "episode_return_min": float(np.min(known)),
        "episode_len_mean": float(np.mean(lengths)) if lengths else float("nan"),
        "num_episodes": len(returns),
        "num_env_steps_sampled": steps,
        "hist_stats": {"episode_reward": returns, "episode_lengths": lengths},
    }
