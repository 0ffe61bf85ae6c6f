"""Recorded episodes as arrays, read through shoal.data."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import shoal.data
from shoal.errors import ConfigError, describe
from shoal.rllib.sampling.transitions import Actions

_COLUMNS = ("eps_id", "t", "obs", "actions", "rewards", "new_obs", "terminateds")


def read_transitions(source: Any, method: str, size: int, actions: Actions, gamma: float) -> dict[str, Any]:
    """Return the steps of recorded episodes by columns, in the order of the episodes.

    Parameters: `source` is a dataset, or paths that `method` of shoal.data reads; `size` is the length of a flat
    observation. Besides the columns that transitions have there are `returns`, the discounted rewards from a step to
    the end of its episode as far as it was recorded. All of it is in memory.

    Raises ConfigError for data with other columns or shapes, and for values that are no numbers.

    Example: `read_transitions("episodes", "read_parquet", 4, Actions(space), 0.99)["returns"]`
    """
    batches = list(_dataset(source, method).iter_batches(batch_size=None, batch_format="numpy"))
    if not batches or not sum(len(next(iter(batch.values()))) for batch in batches):
        raise ConfigError(f"there are no rows in {describe(source)}")
    missing = [name for name in _COLUMNS if name not in batches[0]]
    if missing:
        raise ConfigError(
            f"recorded steps have no column {', '.join(missing)}; they have {', '.join(sorted(batches[0]))}. "
            "shoal.rllib.offline.record_episodes writes all that is needed"
        )
    columns = {
        name: np.concatenate([_rectangular(name, batch[name]) for batch in batches]) for name in _COLUMNS
    }
    order = np.lexsort((columns["t"], columns["eps_id"]))
    columns = {name: values[order] for name, values in columns.items()}
    for name in ("obs", "new_obs"):
        if columns[name].shape[1:] != (size,):
            raise ConfigError(
                f"{name} has rows of the shape {columns[name].shape[1:]}, and observations here have {size} numbers"
            )
    for name in ("obs", "new_obs", "rewards", "actions"):
        wrong = np.flatnonzero(~np.isfinite(columns[name].reshape(len(order), -1)).all(axis=1))
        if len(wrong):
            row = wrong[0]
            where = f"t={columns['t'][row]} of eps_id={columns['eps_id'][row]}"
            raise ConfigError(f"{name} is not finite at {where}, and in {len(wrong) - 1} more rows")
    rewards = columns["rewards"].astype(np.float32)
    return {
        "observations": columns["obs"].astype(np.float32),
        "actions": actions.from_space(columns["actions"]),
        "rewards": rewards,
        "next_observations": columns["new_obs"].astype(np.float32),
        "discounts": (gamma * (1.0 - columns["terminateds"].astype(np.float32))).astype(np.float32),
        "returns": _returns(rewards, columns["eps_id"], gamma),
    }


def _dataset(source: Any, method: str) -> Any:
    if isinstance(source, shoal.data.Dataset):
        return source
    if method == "auto":
        paths = [os.fspath(each) for each in (source if isinstance(source, (list, tuple)) else [source])]
        method = "read_json" if any(_has(path, (".json", ".jsonl")) for path in paths) else "read_parquet"
    return getattr(shoal.data, method)(source)


def _has(path: str, ends: tuple[str, ...]) -> bool:
    if os.path.isdir(path):
        return any(name.endswith(ends) for name in os.listdir(path))
    return path.endswith(ends)


def _rectangular(name: str, values: Any) -> Any:
    values = np.asarray(values)
    if values.dtype != object:
        return values
    try:
        return np.stack([np.asarray(each, dtype=np.float32) for each in values])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the rows of {name} have not all one shape: {error}") from error


def _returns(rewards: Any, episodes: Any, gamma: float) -> Any:
    made = np.zeros_like(rewards)
    running = 0.0
    for row in range(len(rewards) - 1, -1, -1):
        if row + 1 < len(rewards) and episodes[row] != episodes[row + 1]:
            running = 0.0
        running = made[row] = rewards[row] + gamma * running
    return made
