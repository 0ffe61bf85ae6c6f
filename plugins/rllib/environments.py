"""Environments: made by name, class or function, and what their spaces are to a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from shoal.errors import ConfigError, describe

Creator: TypeAlias = Callable[[Mapping[str, Any]], gymnasium.Env[Any, Any]]


def register_env(name: str, env_creator: Creator) -> None:
    """Give a function that makes an environment of its configuration a name, for `config.environment(name)`.

    Example: `register_env("corridor", lambda config: Corridor(config["length"]))`
    """
    from shoal.tune.registry import register_env as register

    register(name, env_creator)


def creator_of(env: Any) -> Creator:
    """Return what makes an environment, as a value that can be sent. Raises ConfigError for an unknown one.

    Example: `creator_of("CartPole-v1")({})`
    """
    if isinstance(env, str):
        from shoal.tune.registry import registered_environments

        registered = registered_environments()
        if env in registered:
            return registered[env]
        try:
            gymnasium.spec(env)
        except gymnasium.error.Error as error:
            raise ConfigError(
                f"no environment is named {env!r}: {error} Give a name that gymnasium knows, a class, or one that "
                f"register_env has named ({', '.join(sorted(registered)) or 'none so far'})"
            ) from error
        return _Named(env)
    if isinstance(env, type) and issubclass(env, gymnasium.Env):
        return _Made(env)
    if callable(env):
        made: Creator = env
        return made
    raise ConfigError(f"env must be a name, a class of gymnasium.Env or a function, not {describe(env)}")


def size_of_observation(space: gymnasium.Space[Any]) -> int:
    """Return how many numbers an observation is to a network.

    Example: `size_of_observation(gymnasium.spaces.Discrete(4))  # 4`
    """
    return int(gymnasium.spaces.utils.flatdim(space))


def flat_observation(space: gymnasium.Space[Any], observation: Any) -> Any:
    """Return an observation of any space as a flat array of 32-bit numbers.

    Example: `flat_observation(space, space.sample())`
    """
    if isinstance(space, gymnasium.spaces.Box):
        return np.asarray(observation, dtype=np.float32).reshape(-1)
    return np.asarray(gymnasium.spaces.utils.flatten(space, observation), dtype=np.float32)


class _Named:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, config: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(self._name, disable_env_checker=True, **config)


class _Made:
    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __call__(self, config: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
        # Classes that are written for us take their configuration, those of others nothing.
        try:
            made: gymnasium.Env[Any, Any] = self._kind(config)
        except TypeError:
            if config:
                raise
            made = self._kind()
        return made
