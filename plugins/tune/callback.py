"""Being told what an experiment does."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

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

    IS_CALLBACK_CONTAINER: ClassVar[bool] = True
    CKPT_FILE_TMPL: ClassVar[str] = "callback-states-{}.pkl"

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

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Store what `get_state` returns in a folder, as a file of its own for each `session_str`."""
        import cloudpickle

        path = os.path.join(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str))
        with open(f"{path}.new", "wb") as file:
            cloudpickle.dump(self.get_state() or {}, file)
        os.replace(f"{path}.new", path)

    def can_restore(self, checkpoint_dir: str) -> bool:
        """Return whether there is such a file in a folder."""
        return bool(self._files_in(checkpoint_dir))

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Go on from the newest such file in a folder. It is unpickled: use your own only. Raises FileNotFoundError."""
        import cloudpickle

        found = self._files_in(checkpoint_dir)
        if not found:
            raise FileNotFoundError(f"{checkpoint_dir} has no file {self.CKPT_FILE_TMPL.format('*')}")
        with open(max(found, key=os.path.getmtime), "rb") as file:
            self.set_state(cloudpickle.load(file))

    def _files_in(self, folder: str) -> list[str]:
        return glob.glob(os.path.join(glob.escape(folder), self.CKPT_FILE_TMPL.format("*")))

    def __getitem__(self, i: int) -> Any:
        return self._callbacks[i]

    def __len__(self) -> int:
        return len(self._callbacks)

    def __bool__(self) -> bool:
        return bool(self._callbacks)
