"""Callbacks: functions, or methods of a class, that are called at moments of an algorithm's life."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, describe

if TYPE_CHECKING:
    from shoal.rllib.algorithms.algorithm import Algorithm

MOMENTS = (
    "on_algorithm_init",
    "on_train_result",
    "on_evaluate_start",
    "on_evaluate_end",
    "on_checkpoint_loaded",
    "on_environment_created",
    "on_episode_created",
    "on_episode_start",
    "on_episode_step",
    "on_episode_end",
    "on_sample_end",
)
OF_RUNNERS = MOMENTS[5:]  # that only runners of algorithms of components call


class RLlibCallback:
    """Methods that an algorithm calls, in the process that trains; override those that you want.

    Methods of runners, environments and episodes are called by algorithms of components, in the processes that play.

    What a method changes in `result` or `evaluation_metrics` is what `train` and `evaluate` return. What it raises
    comes out of them.

    Example:
        class Prints(RLlibCallback):
            def on_train_result(self, *, algorithm, result, **more):
                print(result["episode_reward_mean"])
        config.callbacks(Prints)
    """

    def on_algorithm_init(self, *, algorithm: Algorithm, **more: Any) -> None:
        """An algorithm is made."""

    def on_train_result(self, *, algorithm: Algorithm, result: dict[str, Any], **more: Any) -> None:
        """An iteration is over."""

    def on_evaluate_start(self, *, algorithm: Algorithm, **more: Any) -> None:
        """An evaluation begins."""

    def on_evaluate_end(
        self, *, algorithm: Algorithm, evaluation_metrics: dict[str, Any], **more: Any
    ) -> None:
        """An evaluation is over."""

    def on_checkpoint_loaded(self, *, algorithm: Algorithm, **more: Any) -> None:
        """An algorithm goes on from a checkpoint."""

    def on_environment_created(
        self,
        *,
        env_runner: Any = None,
        metrics_logger: Any = None,
        env: Any = None,
        env_context: Any = None,
        **more: Any,
    ) -> None:
        """A runner has made its environments, `env` (in the runner's process)."""

    def on_episode_created(
        self,
        *,
        episode: Any,
        worker: Any = None,
        env_runner: Any = None,
        metrics_logger: Any = None,
        base_env: Any = None,
        env: Any = None,
        policies: Any = None,
        rl_module: Any = None,
        env_index: int = 0,
        **more: Any,
    ) -> None:
        """A runner is about to begin an episode, which holds nothing yet."""

    def on_episode_start(
        self,
        *,
        episode: Any,
        env_runner: Any = None,
        metrics_logger: Any = None,
        env: Any = None,
        env_index: int = 0,
        rl_module: Any = None,
        worker: Any = None,
        base_env: Any = None,
        policies: Any = None,
        **more: Any,
    ) -> None:
        """An episode has its first observation."""

    def on_episode_step(
        self,
        *,
        episode: Any,
        env_runner: Any = None,
        metrics_logger: Any = None,
        env: Any = None,
        env_index: int = 0,
        rl_module: Any = None,
        worker: Any = None,
        base_env: Any = None,
        policies: Any = None,
        **more: Any,
    ) -> None:
        """An episode has a step more."""

    def on_episode_end(
        self,
        *,
        episode: Any,
        prev_episode_chunks: Any = None,
        env_runner: Any = None,
        metrics_logger: Any = None,
        env: Any = None,
        env_index: int = 0,
        rl_module: Any = None,
        worker: Any = None,
        base_env: Any = None,
        policies: Any = None,
        **more: Any,
    ) -> None:
        """An episode is over."""

    def on_sample_end(
        self,
        *,
        env_runner: Any = None,
        metrics_logger: Any = None,
        samples: Any = None,
        worker: Any = None,
        **more: Any,
    ) -> None:
        """A runner is about to give its episodes away."""


class Callbacks:
    """All of an algorithm's callbacks.

    Parameters: `kinds` are classes, `functions` by the moments' names, each one or several. Raises ConfigError for
    others, and for methods whose names begin with `on_` that nobody would call.

    Example: `Callbacks([Prints], {})("on_train_result", algorithm=algorithm, result=result)`
    """

    def __init__(self, kinds: Any, functions: Mapping[str, Any]) -> None:
        listed = kinds if isinstance(kinds, Sequence) else [] if kinds is None else [kinds]
        made = []
        for kind in listed:
            if not isinstance(kind, type) or not issubclass(kind, RLlibCallback):
                raise ConfigError(
                    f"callbacks_class must be a subclass of RLlibCallback, not {describe(kind)}"
                )
            unknown = [name for name in dir(kind) if name.startswith("on_") and name not in MOMENTS]
            if unknown:
                raise ConfigError(
                    f"{kind.__name__}.{unknown[0]} would never be called; there are {', '.join(MOMENTS)}"
                )
            made.append(kind())
        self._calls: dict[str, list[Callable[..., Any]]] = {
            name: [getattr(each, name) for each in made] for name in MOMENTS
        }
        for name, given in functions.items():
            for each in given if isinstance(given, Sequence) else [given]:
                if not callable(each):
                    raise ConfigError(f"{name} must be a function or several, not {describe(each)}")
                self._calls[name].append(each)

    def __call__(self, moment: str, **told: Any) -> None:
        """Call those of a moment. Raises what they raise."""
        for each in self._calls[moment]:
            each(**told)


def heard_by_runners(kinds: Any, functions: Mapping[str, Any]) -> list[str]:
    """Return the names of those callbacks that only runners of algorithms of components call.

    Example: `heard_by_runners(None, {"on_episode_end": print})  # ["on_episode_end"]`
    """
    listed = kinds if isinstance(kinds, Sequence) else [] if kinds is None else [kinds]
    return [
        moment
        for moment in OF_RUNNERS
        if moment in functions
        or any(getattr(kind, moment) is not getattr(RLlibCallback, moment) for kind in listed)
    ]
