"""What a task does: change a policy's weights one way and the other, and play an episode with each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import gymnasium
import numpy as np

from shoal.rllib.environments import flat_observation
from shoal.rllib.modules.layers import ArrayLayers
from shoal.rllib.sampling.transitions import Actions


@attrs.frozen(kw_only=True)
class Contest:
    """What is played, and by what network.

    Parameters: `make` makes an environment of `config`; `widths` of the network's layers from the inputs to the
    outputs; `spread` of the changes of weights.
    """

    make: Callable[[Mapping[str, Any]], gymnasium.Env[Any, Any]]
    config: Mapping[str, Any]
    widths: tuple[int, ...]
    activation: str
    spread: float


class FlatPolicy:
    """A policy whose weights are one array, on observations less a mean and over a spread.

    Example: `FlatPolicy(contest, weights, mean, spread, discrete=True).actions(observations, random, explore=False)`
    """

    def __init__(self, contest: Contest, weights: Any, mean: Any, spread: Any, discrete: bool) -> None:
        self._mean, self._spread, self._discrete = mean, spread, discrete
        arrays: list[Any] = []
        at = 0
        for before, after in itertools.pairwise(contest.widths):
            if arrays:
                arrays.append(contest.activation)
            matrix = weights[at : at + before * after].reshape(after, before).T
            at += before * after
            arrays.append((matrix, weights[at : at + after]))
            at += after
        self._layers = ArrayLayers(arrays)

    def actions(self, observations: Any, random: Any = None, explore: bool = False) -> Any:
        """Return the best action for each row; nothing is drawn."""
        seen = np.clip((observations - self._mean) / self._spread, -10, 10)
        outputs = self._layers(seen)
        return outputs.argmax(1) if self._discrete else np.tanh(outputs)


def noise_of(seed: int, size: int) -> Any:
    """Return the change of weights that a number stands for: numbers travel, changes do not.

    Example: `noise_of(7, 100).shape  # (100,)`
    """
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def play_changed(
    contest: Contest, weights: Any, mean: Any, spread: Any, seed: int
) -> tuple[float, float, int, Any]:
    """Play an episode with weights that are changed one way, and one with the other; both begin alike.

    Return both returns, the number of steps, and of the observations (count, sums, sums of squares).

    Example: `plus, minus, steps, seen = play_changed(contest, weights, mean, spread, 7)`
    """
    env = contest.make(contest.config)
    try:
        change = contest.spread * noise_of(seed, len(weights))
        discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
        actions = Actions(env.action_space)
        returns, steps = [], 0
        observations: list[Any] = []
        for direction in (1.0, -1.0):
            policy = FlatPolicy(contest, weights + direction * change, mean, spread, discrete)
            observation, _ = env.reset(seed=seed % 2**31)
            total, over, t = 0.0, False, 0
            while not over:
                flat = flat_observation(env.observation_space, observation)
                observations.append(flat)
                chosen = policy.actions(flat[None])[0]
                observation, given, terminated, truncated, _ = env.step(actions.to_space(chosen))
                t += 1
                if not np.isfinite(float(given)) or not np.isfinite(flat).all():
                    raise ValueError(
                        f"step {t} of an episode of {env} gave the reward {given} and the observation {flat}: "
                        "they must be finite numbers"
                    )
                total += float(given)
                over = bool(terminated or truncated)
            returns.append(total)
            steps += t
    finally:
        env.close()
    seen = np.stack(observations).astype(np.float64)
    return returns[0], returns[1], steps, (len(seen), seen.sum(0), np.square(seen).sum(0))
