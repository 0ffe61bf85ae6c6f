"""Episodes of an algorithm, written as rows for others to learn from."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import shoal.data
from shoal.errors import ConfigError, describe
from shoal.rllib.environments import creator_of, flat_observation
from shoal.rllib.replay.buffers import is_whole

_FORMATS = ("parquet", "json")
_ROWS = 20_000  # that are gathered before they are written


def record_episodes(
    algorithm: Any,
    path: str | os.PathLike[str],
    episodes: int = 100,
    file_format: str = "parquet",
    explore: bool = True,
    seed: int | None = None,
) -> int:
    """Let an algorithm play whole episodes and write their steps into files of a folder; return how many steps.

    The columns are `eps_id`, `t`, `obs`, `actions`, `rewards`, `new_obs`, `terminateds` and `truncateds`; observations
    are flat, actions as the environment takes them. `file_format` is "parquet" or "json".

    Example: `record_episodes(algorithm, "episodes", episodes=50)`
    """
    if file_format not in _FORMATS:
        raise ConfigError(f"file_format must be one of {', '.join(_FORMATS)}, not {describe(file_format)}")
    if not is_whole(episodes):
        raise ConfigError(f"episodes must be a whole number ≥ 1, not {describe(episodes)}")
    config = algorithm.config
    env = creator_of(config.env)(config.env_config)
    rows: list[dict[str, Any]] = []
    steps = 0
    try:
        for number in range(episodes):
            first = None if seed is None or number else seed
            observation, _ = env.reset(seed=first)
            over, t = False, 0
            while not over:
                action = algorithm.compute_single_action(observation, explore=explore)
                after, reward, terminated, truncated, _ = env.step(action)
                rows.append(
                    {
                        "eps_id": number,
                        "t": t,
                        "obs": flat_observation(env.observation_space, observation).tolist(),
                        "actions": np.asarray(action).reshape(-1).tolist()
                        if np.ndim(action)
                        else int(action),
                        "rewards": float(reward),
                        "new_obs": flat_observation(env.observation_space, after).tolist(),
                        "terminateds": bool(terminated),
                        "truncateds": bool(truncated),
                    }
                )
                observation, over, t = after, terminated or truncated, t + 1
            if len(rows) >= _ROWS or number == episodes - 1:
                steps += len(rows)
                dataset = shoal.data.from_items(rows)
                write = dataset.write_parquet if file_format == "parquet" else dataset.write_json
                write(os.fspath(path))
                rows = []
    finally:
        env.close()
    return steps
