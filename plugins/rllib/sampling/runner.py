"""An actor that plays episodes of one or several environments with the newest policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import gymnasium
import numpy as np

from shoal.rllib.environments import flat_observation
from shoal.rllib.modules.actor_critic import ArrayPolicy
from shoal.rllib.modules.distributions import distribution_of
from shoal.rllib.sampling.advantages import generalised_advantages


@attrs.frozen(kw_only=True)
class Play:
    """How environments are played.

    Parameters: `make` makes an environment of `config`; `count` are played by turns. `gamma` and `lambda_` are those of
    advantages; `clip_rewards` bounds rewards (None: as they are), `clip_actions` moves actions into their space.
    """

    make: Callable[[Mapping[str, Any]], gymnasium.Env[Any, Any]]
    config: Mapping[str, Any]
    count: int
    gamma: float
    lambda_: float
    clip_rewards: float | None
    clip_actions: bool
    seed: int | None


class EnvRunner:
    """Plays on where it stopped, whenever it is asked for steps."""

    def __init__(self, play: Play, number: int) -> None:
        self._play = play
        self._environments = [play.make(play.config) for _ in range(play.count)]
        first = self._environments[0]
        self._space, self._actions = first.observation_space, first.action_space
        self._distribution = distribution_of(self._actions)
        seeds: list[int | None] = [None] * play.count
        if play.seed is not None:
            seeds = [play.seed + 1000 * number + place for place in range(play.count)]
        self._random = np.random.default_rng(None if play.seed is None else (play.seed, number))
        self._policy: ArrayPolicy | None = None
        self._observations = np.stack(
            [self._flat(env.reset(seed=seed)[0]) for env, seed in zip(self._environments, seeds, strict=True)]
        )
        self._returns = np.zeros(play.count)
        self._lengths = np.zeros(play.count, dtype=np.int64)

    def sample(self, arrays: dict[str, Any], steps: int) -> dict[str, Any]:
        """Play `steps` steps of each environment; return what was seen, a row a step, and the episodes that ended.

        Raises ValueError for an environment that breaks its own rules, naming the step.
        """
        policy = ArrayPolicy(arrays)
        count = self._play.count
        seen = np.empty((steps, count, self._observations.shape[1]), np.float32)
        rewards, values, next_values = (np.zeros((steps, count), np.float32) for _ in range(3))
        terminated, ended = (np.zeros((steps, count), np.float32) for _ in range(2))
        actions, logs, inputs = [], [], []
        episodes: list[tuple[float, int]] = []
        for step in range(steps):
            seen[step] = self._observations
            outputs, values[step] = policy(self._observations)
            chosen, log = self._distribution.sample(outputs, self._random)
            actions.append(chosen)
            logs.append(log)
            inputs.append(outputs)
            if step:
                next_values[step - 1] = np.where(ended[step - 1] > 0, next_values[step - 1], values[step])
            for place in range(count):
                reward, terminated[step, place], cut = self._step(place, chosen[place])
                rewards[step, place] = reward
                if terminated[step, place] or cut is not None:
                    ended[step, place] = 1.0
                    episodes.append((float(self._returns[place]), int(self._lengths[place])))
                    self._returns[place], self._lengths[place] = 0.0, 0
                    if cut is not None:
                        next_values[step, place] = policy(cut[None])[1][0]
        _, last = policy(self._observations)
        next_values[-1] = np.where(ended[-1] > 0, next_values[-1], last)
        play = self._play
        advantages = generalised_advantages(
            rewards, values, next_values, terminated, ended, play.gamma, play.lambda_
        )
        flat = steps * count
        return {
            "observations": seen.reshape(flat, -1),
            "actions": np.concatenate(actions),
            "log_probabilities": np.concatenate(logs).astype(np.float32),
            "inputs": np.concatenate(inputs).astype(np.float32),
            "values": values.reshape(flat),
            "advantages": advantages.reshape(flat),
            "episodes": episodes,
        }

    def _step(self, place: int, action: Any) -> tuple[float, bool, Any]:
        """Act in one environment: the reward, whether it terminated, and the last observation of one that was cut."""
        env = self._environments[place]
        observation, reward, terminated, truncated, _ = env.step(self._as_action(action))
        reward = float(reward)
        self._returns[place] += reward
        self._lengths[place] += 1
        flat = self._flat(observation)
        if not np.isfinite(reward) or not np.isfinite(flat).all():
            what = f"the reward {reward}" if not np.isfinite(reward) else f"the observation {observation}"
            raise ValueError(
                f"step {int(self._lengths[place])} of an episode of {env} gave {what}: it must be finite numbers"
            )
        if self._play.clip_rewards is not None:
            reward = max(-self._play.clip_rewards, min(self._play.clip_rewards, reward))
        cut = flat if truncated and not terminated else None
        if terminated or truncated:
            flat = self._flat(env.reset()[0])
        self._observations[place] = flat
        return reward, bool(terminated), cut

    def _as_action(self, action: Any) -> Any:
        return as_action(self._actions, action, self._play.clip_actions)

    def _flat(self, observation: Any) -> Any:
        return flat_observation(self._space, observation)


def as_action(space: gymnasium.Space[Any], action: Any, clips: bool) -> Any:
    """Return what a distribution drew as an action of a space.

    Example: `as_action(space, 1, clips=False)`
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(action) + int(space.start)
    assert isinstance(space, gymnasium.spaces.Box)
    shaped = np.asarray(action, dtype=space.dtype).reshape(space.shape)
    return np.clip(shaped, space.low, space.high) if clips else shaped
