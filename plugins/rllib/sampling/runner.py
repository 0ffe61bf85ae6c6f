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


class Seen:
    """What was seen in `steps` steps (rows) of `count` environments (columns).

    `next_values` are of what came of a step: where an episode was cut short, of its last observation, which is in
    `cuts` with its step and environment; where it terminated they mean nothing. `last` is what is acted on next.
    """

    def __init__(self, steps: int, count: int, size: int) -> None:
        self.observations = np.empty((steps, count, size), np.float32)
        self.rewards, self.values, self.next_values = (np.zeros((steps, count), np.float32) for _ in range(3))
        self.terminated, self.ended = (np.zeros((steps, count), np.float32) for _ in range(2))
        self.actions: list[Any] = []
        self.log_probabilities: list[Any] = []
        self.inputs: list[Any] = []
        self.episodes: list[tuple[float, int]] = []
        self.cuts: list[tuple[int, int, Any]] = []
        self.last: Any = None


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
        seen = self.play(ArrayPolicy(arrays), steps)
        play = self._play
        advantages = generalised_advantages(
            seen.rewards,
            seen.values,
            seen.next_values,
            seen.terminated,
            seen.ended,
            play.gamma,
            play.lambda_,
        )
        flat = steps * play.count
        return {
            "observations": seen.observations.reshape(flat, -1),
            "actions": np.concatenate(seen.actions),
            "log_probabilities": np.concatenate(seen.log_probabilities).astype(np.float32),
            "inputs": np.concatenate(seen.inputs).astype(np.float32),
            "values": seen.values.reshape(flat),
            "advantages": advantages.reshape(flat),
            "episodes": seen.episodes,
        }

    def play(self, policy: ArrayPolicy, steps: int) -> Seen:
        """Play `steps` steps of each environment. Raises ValueError as `sample`."""
        count = self._play.count
        made = Seen(steps, count, self._observations.shape[1])
        values, next_values, ended = made.values, made.next_values, made.ended
        for step in range(steps):
            made.observations[step] = self._observations
            outputs, values[step] = policy(self._observations)
            chosen, log = self._distribution.sample(outputs, self._random)
            made.actions.append(chosen)
            made.log_probabilities.append(log)
            made.inputs.append(outputs)
            for place in range(count):
                reward, terminated, cut = self._step(place, chosen[place])
                made.rewards[step, place] = reward
                if terminated or cut is not None:
                    made.terminated[step, place] = terminated
                    ended[step, place] = 1.0
                    made.episodes.append((float(self._returns[place]), int(self._lengths[place])))
                    self._returns[place], self._lengths[place] = 0.0, 0
                    if cut is not None:
                        made.cuts.append((step, place, cut))
                        next_values[step, place] = policy(cut[None])[1][0]
        _, last = policy(self._observations)
        made.last = self._observations.copy()
        following = np.concatenate([values[1:], last[None]])
        np.copyto(next_values, following, where=ended == 0)
        return made

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
