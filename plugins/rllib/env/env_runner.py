"""What all that play environments have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from shoal.rllib.checkpoints import Checkpointable
from shoal.rllib.metrics.metrics_logger import MetricsLogger


class EnvRunner(Checkpointable, ABC):
    """Plays environments with a module, in a process of its own or in the algorithm's.

    Override `make_env`, `make_module`, `sample` and what a Checkpointable needs.

    Parameters: `config` is the algorithm's; `worker_index` is the runner's number, from 1 on, or 0 in the algorithm's
    process.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        self.config = config.copy()
        self.worker_index: int = kwargs.get("worker_index", 0)
        self.num_workers: int = kwargs.get("num_workers", config.num_env_runners)
        self.metrics = MetricsLogger()
        self.env: Any = None
        self.module: Any = None

    @abstractmethod
    def make_env(self) -> None:
        """Make the environments, instead of those before."""

    @abstractmethod
    def make_module(self) -> None:
        """Make the module."""

    @abstractmethod
    def sample(self, **kwargs: Any) -> Any:
        """Play; return episodes, or pieces of them."""

    def sample_get_state_and_metrics(self, **kwargs: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Play; return (episodes, the connectors' states, numbers that can be aggregated) in one call."""
        episodes = self.sample(**kwargs)
        state = self.get_state(not_components="rl_module")
        return episodes, state, self.get_metrics()

    def get_metrics(self) -> dict[str, Any]:
        """Return what was logged since the last time, as numbers that can be aggregated."""
        return self.metrics.reduce(compile=False)

    @abstractmethod
    def get_spaces(self) -> dict[str, tuple[Any, Any]]:
        """Return the spaces of observations and actions by module, and those of the environment under "__env__"."""

    def assert_healthy(self) -> None:
        """Raise AssertionError if it cannot play."""
        assert self.env is not None, "there is no environment"
        assert self.module is not None, "there is no module"

    def ping(self) -> str:
        """Return at once."""
        return "pong"

    def apply(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what a function of this runner gives."""
        return func(self, *args, **kwargs)

    def stop(self) -> None:
        """Close the environments."""
        if self.env is not None:
            for each in self.env if isinstance(self.env, list) else [self.env]:
                each.close()
