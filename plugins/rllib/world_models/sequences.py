"""Streams of play: a runner that gives them, and a buffer that draws sequences of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from shoal.errors import ConfigError
from shoal.rllib.environments import flat_observation
from shoal.rllib.replay.buffers import ReplayBuffer
from shoal.rllib.sampling.runner import Play
from shoal.rllib.sampling.transitions import Actions

COLUMNS = ("observations", "actions", "rewards", "first", "terminated")


class SequenceRunner:
    """Plays on where it stopped, by a policy that remembers.

    A step is an observation, the reward that came with it, whether an episode begins (`first`) or has `terminated` with
    it, and the action that was taken then; the last observation of an episode has an action of zeros.
    """

    def __init__(self, play: Play, number: int) -> None:
        if number:  # a process of its own
            torch.set_num_threads(1)
        self._play = play
        self._number = number
        self._environments = [play.make(play.config) for _ in range(play.count)]
        self._space = self._environments[0].observation_space
        self._actions = Actions(self._environments[0].action_space)
        self._random = np.random.default_rng(None if play.seed is None else (play.seed, number))
        if play.seed is not None and number:
            torch.manual_seed(play.seed + 1000 * number)
        self._observations = [
            self._flat(env.reset(seed=None if play.seed is None else play.seed + 1000 * number + place)[0])
            for place, env in enumerate(self._environments)
        ]
        self._first = np.ones(play.count, np.float32)
        self._rewards = [0.0] * play.count
        self._memory: Any = None
        self._returns = [0.0] * play.count
        self._lengths = [0] * play.count

    def sample(self, policy: Any, steps: int) -> dict[str, Any]:
        """Play `steps` steps of each environment by `policy.actions`.

        Return `rows` (what was seen by the environment's number, in columns), the number of `steps`, and the `episodes`
        that ended. Raises ValueError for an environment that breaks its own rules.
        """
        streams: list[list[tuple[Any, ...]]] = [[] for _ in self._environments]
        episodes: list[tuple[float, int]] = []
        for _ in range(steps):
            chosen, self._memory = policy.actions(
                np.stack(self._observations), self._first, self._memory, self._random
            )
            for place in range(self._play.count):
                self._step(place, chosen[place], streams[place], episodes)
        rows = {
            self._number * 1000 + place: {
                name: np.asarray(values, np.float32)
                for name, values in zip(COLUMNS, zip(*stream, strict=True), strict=True)
            }
            for place, stream in enumerate(streams)
        }
        return {"rows": rows, "steps": steps * self._play.count, "episodes": episodes}

    def _step(
        self, place: int, action: Any, stream: list[tuple[Any, ...]], episodes: list[tuple[float, int]]
    ) -> None:
        env, play = self._environments[place], self._play
        stream.append((self._observations[place], action, self._rewards[place], self._first[place], 0.0))
        taken = int(np.argmax(action)) if self._actions.discrete else action
        observation, given, terminated, truncated, _ = env.step(self._actions.to_space(taken))
        reward, flat = float(given), self._flat(observation)
        self._returns[place] += reward
        self._lengths[place] += 1
        if not math.isfinite(reward) or not np.isfinite(flat).all():
            what = f"the reward {reward}" if not math.isfinite(reward) else f"the observation {observation}"
            raise ValueError(
                f"step {self._lengths[place]} of an episode of {env} gave {what}: it must be finite numbers"
            )
        if play.clip_rewards is not None:
            reward = max(-play.clip_rewards, min(play.clip_rewards, reward))
        self._first[place] = 0.0
        if terminated or truncated:
            stream.append((flat, np.zeros_like(action), reward, 0.0, float(terminated)))
            episodes.append((self._returns[place], self._lengths[place]))
            self._returns[place], self._lengths[place] = 0.0, 0
            flat, reward = self._flat(env.reset()[0]), 0.0
            self._first[place] = 1.0
        self._observations[place], self._rewards[place] = flat, reward

    def _flat(self, observation: Any) -> Any:
        return flat_observation(self._space, observation)


class SequenceBuffer:
    """Keeps streams, up to `capacity` steps in `streams` of them, and draws sequences of `length` steps uniformly.

    A sequence may go over the end of an episode into the next one. Of more streams, such as those of runners that were
    replaced, the oldest goes.

    Example: `SequenceBuffer(10_000, 64, streams=1).add({0: {"rewards": np.ones(100)}})`
    """

    def __init__(self, capacity: int, length: int, streams: int, seed: int | None = None) -> None:
        if capacity // streams < length:
            raise ConfigError(
                f"the replay buffer's capacity={capacity} leaves each of {streams} environments "
                f"{capacity // streams} steps, and sequences have {length}"
            )
        self._each, self._length, self._most = capacity // streams, length, streams
        self._random = np.random.default_rng(seed)
        self._streams: dict[int, ReplayBuffer] = {}

    def __len__(self) -> int:
        return sum(self._starts(stream) for stream in self._streams.values())

    def add(self, rows: Mapping[int, Mapping[str, Any]]) -> None:
        """Keep what was seen next, by the stream's number."""
        for number, columns in rows.items():
            if number not in self._streams:
                while len(self._streams) >= self._most:
                    del self._streams[next(iter(self._streams))]
                self._streams[number] = ReplayBuffer(self._each)
            self._streams[number].add(columns)

    def sample(self, count: int) -> dict[str, Any]:
        """Return sequences of `count` steps together, by columns of (sequences, steps, …). Raises ValueError if no
        stream is long enough yet."""
        if not len(self):
            raise ValueError(f"no stream has {self._length} steps yet: add more before you draw some")
        streams = list(self._streams.values())
        starts = np.array([self._starts(stream) for stream in streams])
        made = []
        for which in self._random.choice(
            len(streams), max(1, count // self._length), p=starts / starts.sum()
        ):
            stream = streams[which]
            begun = stream.added - len(stream) + int(self._random.integers(starts[which]))
            made.append(stream.rows(begun + np.arange(self._length)))
        return {name: np.stack([each[name] for each in made]) for name in made[0]}

    def state(self) -> dict[str, Any]:
        """Return all that `set_state` of another buffer needs to go on alike."""
        return {
            "streams": {number: stream.state() for number, stream in self._streams.items()},
            "random": self._random.bit_generator.state,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Raises ConfigError for a buffer of another capacity."""
        self._streams = {}
        for number, each in state["streams"].items():
            self._streams[number] = ReplayBuffer(self._each)
            self._streams[number].set_state(each)
        self._random.bit_generator.state = state["random"]

    def _starts(self, stream: ReplayBuffer) -> int:
        return max(0, len(stream) - self._length + 1)
