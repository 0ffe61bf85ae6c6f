"""What is known here of an environment that is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import gymnasium


@attrs.frozen
class ExternalSpaces:
    """The spaces of an environment that is elsewhere; what `config.environment` gets in the place of an environment.

    Example: `config.environment(ExternalSpaces(observation_space, action_space), env_config={"port": 9900})`
    """

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]

    def __call__(self, config: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
        """Return an environment that has the spaces, and cannot be played here."""
        return _Elsewhere(self.observation_space, self.action_space)


class _Elsewhere(gymnasium.Env[Any, Any]):
    def __init__(self, observation_space: Any, action_space: Any) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        raise RuntimeError("this environment is elsewhere: it is played by programs that have a PolicyClient")

    def step(self, action: Any) -> Any:
        raise RuntimeError("this environment is elsewhere: it is played by programs that have a PolicyClient")
