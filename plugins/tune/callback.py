"""Being told what an experiment does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.tune.experiment.trial import Trial

__all__ = ["Callback", "CallbackList"]


class Callback:
    """Told what an experiment does, in the program that runs it. What a method raises ends the experiment.

    `iteration` counts the controller's rounds, `trials` are all trials so far.

    Example: `RunConfig(callbacks=[MyCallback()])`
    """

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Begin; `info` has "experiment", the name, and "path", that of its folder."""

    def on_step_begin(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """A round begins."""

    def on_step_end(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """A round has ended."""

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial is started."""

    def on_trial_restore(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial is started again, from its checkpoint if it has one."""

    def on_trial_save(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial has saved a checkpoint."""

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has reported."""

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial has ended well, or was stopped."""

    def on_trial_recover(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial has failed and will be started again."""

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial has failed for good."""

    def on_checkpoint(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, checkpoint: Any, **info: Any
    ) -> None:
        """A trial has a new checkpoint."""

    def on_experiment_end(self, trials: Sequence[Trial], **info: Any) -> None:
        """The experiment is over."""

    def get_state(self) -> dict[str, Any] | None:
        """Return what `set_state` goes on from when the experiment is restored."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` returned."""


class CallbackList(Callback):
    """Several callbacks as one."""

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._callbacks = list(callbacks)

    def tell(self, method: str, *args: Any, **info: Any) -> None:
        """Call a method of each that has it."""
        for callback in self._callbacks:
            found = getattr(callback, method, None)
            if found is not None:
                found(*args, **info)

    def setup(self, **info: Any) -> None:  # type: ignore[override]
        """Begin."""
        self.tell("setup", **info)

    def on_experiment_end(self, trials: Sequence[Trial], **info: Any) -> None:
        """End."""
        self.tell("on_experiment_end", trials=trials, **info)

    def get_state(self) -> dict[str, Any] | None:
        """Return all states, by position."""
        found = {
            str(index): state
            for index, each in enumerate(self._callbacks)
            if (ask := getattr(each, "get_state", None)) is not None and (state := ask()) is not None
        }
        return found or None

    def set_state(self, state: dict[str, Any]) -> None:
        """Give each its state."""
        for index, each in enumerate(self._callbacks):
            if str(index) in state and hasattr(each, "set_state"):
                each.set_state(state[str(index)])

    def __bool__(self) -> bool:
        return bool(self._callbacks)
