"""What is done to Atari's games before they are learned (Mnih et al., 2015; Machado et al., 2018)."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np


def is_atari(env: Any) -> bool:
    """Return whether an environment, or the name of one, is a game of Atari's.

    Example: `is_atari("ale_py:ALE/Pong-v5")  # True`
    """
    if isinstance(env, str):
        return env.startswith(("ALE/", "ale_py:")) or "NoFrameskip" in env
    return hasattr(env.unwrapped, "ale")


def get_wrapper_by_cls(env: Any, cls: type) -> Any:
    """Return the wrapper of a class that an environment is in, or None.

    Example: `get_wrapper_by_cls(env, MonitorEnv)`
    """
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, cls):
            return env
        env = env.env
    return None


class ClipRewardEnv(gymnasium.RewardWrapper[Any, Any]):
    """Rewards by their signs: -1, 0 or 1."""

    def reward(self, reward: Any) -> Any:
        """Return the sign."""
        return float(np.sign(reward))


class EpisodicLifeEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The loss of a life terminates an episode; the game begins anew only when all are lost.

    The environment tells of lives in `unwrapped.ale.lives()`, or in `info["lives"]`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.lives = 0
        self.was_real_terminated = True

    def step(self, action: Any) -> Any:
        """Make a step."""
        seen, reward, terminated, truncated, told = self.env.step(action)
        self.was_real_terminated = terminated or truncated
        lives = self._lives(told)
        if 0 < lives < self.lives:
            terminated = True
        self.lives = lives
        return seen, reward, terminated, truncated, told

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode: the game anew, or where a life was lost."""
        if self.was_real_terminated:
            seen, told = self.env.reset(**kwargs)
        else:
            seen, _, terminated, truncated, told = self.env.step(0)
            if terminated or truncated:
                seen, told = self.env.reset(**kwargs)
        self.lives = self._lives(told)
        self.was_real_terminated = False
        return seen, told

    def _lives(self, told: Any) -> int:
        inside: Any = self.env.unwrapped
        return int(inside.ale.lives()) if hasattr(inside, "ale") else int(told.get("lives", 0))


class FireResetEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Presses FIRE at the beginning, for games that wait for it. Raises ValueError for games without it."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        inside: Any = env.unwrapped
        meanings = inside.get_action_meanings()
        if len(meanings) < 3 or meanings[1] != "FIRE":
            raise ValueError(f"action 1 is no FIRE: {', '.join(meanings)}")

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        self.env.reset(**kwargs)
        for action in (1, 2):
            seen, _, terminated, truncated, told = self.env.step(action)
            if terminated or truncated:
                seen, told = self.env.reset(**kwargs)
        return seen, told

    def step(self, ac: Any) -> Any:
        """Make a step."""
        return self.env.step(ac)


class FrameStack(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts the last `k` observations together, in the last dimension; the first one is there `k` times."""

    def __init__(self, env: gymnasium.Env[Any, Any], k: int) -> None:
        super().__init__(env)
        self.k = k
        self.frames: deque[Any] = deque(maxlen=k)
        space: Any = env.observation_space
        self.observation_space = gymnasium.spaces.Box(
            np.repeat(space.low, k, axis=-1), np.repeat(space.high, k, axis=-1), dtype=space.dtype.type
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin an episode."""
        seen, told = self.env.reset(seed=seed, options=options)
        self.frames.extend([seen] * self.k)
        return self._together(), told

    def step(self, action: Any) -> Any:
        """Make a step."""
        seen, reward, terminated, truncated, told = self.env.step(action)
        self.frames.append(seen)
        return self._together(), reward, terminated, truncated, told

    def _together(self) -> Any:
        return np.concatenate(list(self.frames), axis=-1)


class FrameStackTrajectoryView(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Observations without their last dimension of length 1, for networks that stack frames themselves."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        space: Any = env.observation_space
        if space.shape[-1] != 1:
            raise ValueError(f"observations must have one colour, not the shape {space.shape}")
        self.observation_space = gymnasium.spaces.Box(
            space.low[..., 0], space.high[..., 0], dtype=space.dtype.type
        )

    def observation(self, observation: Any) -> Any:
        """Return an observation without its last dimension."""
        return np.squeeze(observation, axis=-1)


class GrayScaleAndResize(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Pictures of `dim` × `dim` points, in grey unless `grayscale` is False."""

    def __init__(self, env: gymnasium.Env[Any, Any], dim: int, grayscale: bool = True) -> None:
        super().__init__(env)
        self.dim, self.grayscale = dim, grayscale
        self.observation_space = gymnasium.spaces.Box(0, 255, (dim, dim, 1 if grayscale else 3), np.uint8)

    def observation(self, frame: Any) -> Any:
        """Return a picture as it is learned from."""
        from PIL import Image

        picture = Image.fromarray(np.asarray(frame, np.uint8))
        if self.grayscale:
            picture = picture.convert("L")
        made = np.asarray(picture.resize((self.dim, self.dim), Image.Resampling.BOX))
        return made[:, :, None] if self.grayscale else made


class WarpFrame(GrayScaleAndResize):
    """Grey pictures of `dim` × `dim` points (Mnih et al., 2015)."""

    def __init__(self, env: gymnasium.Env[Any, Any], dim: int, grayscale: bool = True) -> None:
        super().__init__(env, dim, grayscale)


class NormalizedImageEnv(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Pictures whose points are from -1 to 1."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        space: Any = self.env.observation_space
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, space.shape, np.float32)

    def observation(self, observation: Any) -> Any:
        """Return a picture with points from -1 to 1."""
        return (np.asarray(observation, np.float32) / 128.0) - 1.0


class MaxAndSkipEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Each action is done `skip` times; of the last two pictures the brighter points are seen, as games flicker."""

    def __init__(self, env: gymnasium.Env[Any, Any], skip: int = 4) -> None:
        super().__init__(env)
        self.skip = skip

    def step(self, action: Any) -> Any:
        """Make `skip` steps; return the sum of their rewards."""
        last: deque[Any] = deque(maxlen=2)
        total = 0.0
        for _ in range(self.skip):
            seen, reward, terminated, truncated, told = self.env.step(action)
            last.append(seen)
            total += float(reward)
            if terminated or truncated:
                break
        return np.max(np.stack(list(last)), axis=0), total, terminated, truncated, told

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        return self.env.reset(**kwargs)


class MonitorEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Counts steps, and the lengths and returns of episodes as the game has them, whatever is wrapped around it."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._length, self._return = 0, 0.0
        self._lengths: list[int] = []
        self._returns: list[float] = []
        self._steps, self._told = 0, 0

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode; what there is of the one before counts."""
        told = self.env.reset(**kwargs)
        if self._length:
            self._lengths.append(self._length)
            self._returns.append(self._return)
        self._length, self._return = 0, 0.0
        return told

    def step(self, action: Any) -> Any:
        """Make a step."""
        told = self.env.step(action)
        self._length += 1
        self._steps += 1
        self._return += float(told[1])
        return told

    def get_episode_rewards(self) -> list[float]:
        """Return the returns of the episodes so far."""
        return self._returns

    def get_episode_lengths(self) -> list[int]:
        """Return the lengths of the episodes so far, in steps."""
        return self._lengths

    def get_total_steps(self) -> int:
        """Return how many steps there were."""
        return self._steps

    def next_episode_results(self) -> Any:
        """Yield (return, length) of the episodes that were not yielded before."""
        while self._told < len(self._returns):
            yield self._returns[self._told], self._lengths[self._told]
            self._told += 1


class NoopResetEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Begins an episode with 1 to `noop_max` steps in which nothing is done, so that games do not begin all alike."""

    def __init__(self, env: gymnasium.Env[Any, Any], noop_max: int = 30) -> None:
        super().__init__(env)
        self.noop_max = noop_max
        self.override_num_noops: int | None = None

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        seen, told = self.env.reset(**kwargs)
        count = self.override_num_noops or int(self.unwrapped.np_random.integers(1, self.noop_max + 1))
        for _ in range(count):
            seen, _, terminated, truncated, told = self.env.step(0)
            if terminated or truncated:
                seen, told = self.env.reset(**kwargs)
        return seen, told

    def step(self, ac: Any) -> Any:
        """Make a step."""
        return self.env.step(ac)


def wrap_deepmind(
    env: gymnasium.Env[Any, Any], dim: int = 84, framestack: bool = True, noframeskip: bool = False
) -> gymnasium.Env[Any, Any]:
    """Return a game as Mnih et al. (2015) learned it: small grey pictures, lives as episodes, signs as rewards.

    Parameters: `dim` is the pictures' width and height in points; with `framestack` four of them are put together; with
    `noframeskip` each action is done four times, for games that do not skip pictures themselves.

    Example: `wrap_deepmind(gymnasium.make("ALE/Pong-v5"))`
    """
    made: Any = NoopResetEnv(MonitorEnv(env), noop_max=30)
    if noframeskip:
        made = MaxAndSkipEnv(made, skip=4)
    made = EpisodicLifeEnv(made)
    inside: Any = made.unwrapped
    if hasattr(inside, "get_action_meanings") and "FIRE" in inside.get_action_meanings():
        made = FireResetEnv(made)
    made = ClipRewardEnv(WarpFrame(made, dim))
    return FrameStack(made, 4) if framestack else made


def wrap_atari_for_new_api_stack(
    env: gymnasium.Env[Any, Any],
    dim: int = 64,
    frameskip: int = 4,
    framestack: int | None = None,
    grayscale: bool = True,
) -> gymnasium.Env[Any, Any]:
    """Return a game for modules of one's own: points from -1 to 1, no pictures in which nothing is done stacked.

    Parameters: `dim` is the pictures' width and height in points; `frameskip` how often each action is done;
    `framestack` how many pictures are put together (None: one); `grayscale` whether they are grey.

    Example: `wrap_atari_for_new_api_stack(gymnasium.make("ALE/Pong-v5", frameskip=1), dim=84)`
    """
    made: Any = gymnasium.wrappers.TimeLimit(env, max_episode_steps=108_000)
    made = NormalizedImageEnv(GrayScaleAndResize(made, dim, grayscale))
    made = NoopResetEnv(made, noop_max=30)
    if frameskip > 1:
        made = MaxAndSkipEnv(made, skip=frameskip)
    made = EpisodicLifeEnv(made)
    inside: Any = made.unwrapped
    if hasattr(inside, "get_action_meanings") and "FIRE" in inside.get_action_meanings():
        made = FireResetEnv(made)
    made = ClipRewardEnv(made)
    return FrameStack(made, framestack) if framestack else made
