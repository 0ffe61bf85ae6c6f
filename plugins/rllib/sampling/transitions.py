"""An actor that plays and gives transitions: what was seen, done and got, and what came of it."""

from __future__ import annotations

import math
from typing import Any

import attrs
import gymnasium
import numpy as np

from shoal.errors import ConfigError
from shoal.rllib.environments import flat_observation
from shoal.rllib.replay.n_step import NStep
from shoal.rllib.sampling.runner import Play


@attrs.frozen(kw_only=True)
class TransitionPlay(Play):
    """How environments are played; transitions are over up to `n_step` steps."""

    n_step: int = 1


class Actions:
    """Actions of a space as networks have them: choices from 0, real numbers from -1 to 1.

    Raises ConfigError for a space that is neither Discrete nor a Box with finite ends.

    Example: `Actions(gymnasium.spaces.Box(-2, 2, (1,))).to_space([0.5])  # [1.0]`
    """

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self._space = space
        self.discrete = isinstance(space, gymnasium.spaces.Discrete)
        if isinstance(space, gymnasium.spaces.Discrete):
            self.size = int(space.n)
            return
        if not isinstance(space, gymnasium.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise ConfigError(f"actions must be of Discrete or of Box with real numbers, not of {space}")
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise ConfigError(
                f"actions must have finite ends, not those of {space}: wrap it in RescaleAction"
            )
        self.size = math.prod(space.shape)
        self._low = space.low.reshape(-1).astype(np.float32)
        self._half = (space.high.reshape(-1).astype(np.float32) - self._low) / 2

    def to_space(self, action: Any) -> Any:
        """Return a network's action as the environment takes it."""
        space = self._space
        if isinstance(space, gymnasium.spaces.Discrete):
            return int(action) + int(space.start)
        assert isinstance(space, gymnasium.spaces.Box)
        made = self._low + (np.asarray(action, np.float32) + 1) * self._half
        return made.astype(space.dtype).reshape(space.shape)

    def to_space_rows(self, actions: Any) -> Any:
        """Return networks' actions, one a row, as environments take them, one a row."""
        return np.stack([self.to_space(each) for each in actions])

    def from_space(self, actions: Any) -> Any:
        """Return an environment's actions, one a row, as networks have them."""
        space = self._space
        if isinstance(space, gymnasium.spaces.Discrete):
            return np.asarray(actions, np.int64) - int(space.start)
        rows = np.asarray(actions, np.float32).reshape(len(actions), -1)
        return np.clip((rows - self._low) / self._half - 1, -1, 1)


class TransitionRunner:
    """Plays on where it stopped, whenever it is asked for steps."""

    def __init__(self, play: TransitionPlay, number: int) -> None:
        self._play = play
        self._environments = [play.make(play.config) for _ in range(play.count)]
        first = self._environments[0]
        self._space = first.observation_space
        self._actions = Actions(first.action_space)
        seeds: list[int | None] = [None] * play.count
        if play.seed is not None:
            seeds = [play.seed + 1000 * number + place for place in range(play.count)]
        self._random = np.random.default_rng(None if play.seed is None else (play.seed, number))
        self._observations = np.stack(
            [self._flat(env.reset(seed=seed)[0]) for env, seed in zip(self._environments, seeds, strict=True)]
        )
        self._windows = [NStep(play.n_step, play.gamma) for _ in range(play.count)]
        self._returns = [0.0] * play.count
        self._lengths = [0] * play.count

    def sample(self, policy: Any, steps: int) -> dict[str, Any]:
        """Play `steps` steps of each environment by `policy.actions`.

        Return the transitions that are complete by now (`rows`, columns with a row each), the number of `steps` that
        were played, and the `episodes` that ended. Raises ValueError for an environment that breaks its own rules.
        """
        made: list[Any] = []
        episodes: list[tuple[float, int]] = []
        for _ in range(steps):
            chosen = policy.actions(self._observations, self._random)
            for place, action in enumerate(chosen):
                self._step(place, action, made, episodes)
        rows = _columns(made) if made else None
        return {"rows": rows, "steps": steps * self._play.count, "episodes": episodes}

    def sample_apart(self, policy: Any, amount: float, steps: int) -> tuple[Any, dict[str, Any]]:
        """Do as `sample`, exploring by an amount of this runner's own; return the rows with their first priorities,
        which are for a replay shard, and apart from them what else is told."""
        policy = policy.exploring(amount)
        told = self.sample(policy, steps)
        rows = told.pop("rows")
        if rows is not None:
            priorities = policy.priorities(rows)
            if priorities is not None:
                rows["priorities"] = priorities
        return rows, told

    def _step(self, place: int, action: Any, made: list[Any], episodes: list[tuple[float, int]]) -> None:
        env, play = self._environments[place], self._play
        observation, given, terminated, truncated, _ = env.step(self._actions.to_space(action))
        reward = float(given)
        self._returns[place] += reward
        self._lengths[place] += 1
        flat = self._flat(observation)
        if not math.isfinite(reward) or not np.isfinite(flat).all():
            what = f"the reward {reward}" if not math.isfinite(reward) else f"the observation {observation}"
            raise ValueError(
                f"step {self._lengths[place]} of an episode of {env} gave {what}: it must be finite numbers"
            )
        if play.clip_rewards is not None:
            reward = max(-play.clip_rewards, min(play.clip_rewards, reward))
        before = self._observations[place].copy()
        made += self._windows[place].add(
            before, action, reward, flat, terminated=bool(terminated), truncated=bool(truncated)
        )
        if terminated or truncated:
            episodes.append((self._returns[place], self._lengths[place]))
            self._returns[place], self._lengths[place] = 0.0, 0
            flat = self._flat(env.reset()[0])
        self._observations[place] = flat

    def _flat(self, observation: Any) -> Any:
        return flat_observation(self._space, observation)


def _columns(made: list[Any]) -> dict[str, Any]:
    observations, actions, rewards, after, discounts = zip(*made, strict=True)
    return {
        "observations": np.stack(observations),
        "actions": np.asarray(actions),
        "rewards": np.asarray(rewards, np.float32),
        "next_observations": np.stack(after),
        "discounts": np.asarray(discounts, np.float32),
    }
