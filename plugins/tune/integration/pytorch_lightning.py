"""Reports of Lightning's events to an experiment."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch.callbacks import Callback

from shoal.errors import ConfigError
from shoal.train.checkpoint import Checkpoint
from shoal.tune.session import report

__all__ = ["TuneCallback", "TuneReportCallback", "TuneReportCheckpointCallback"]

_EVENTS = sorted(
    name.removeprefix("on_")
    for name, _ in inspect.getmembers(Callback, inspect.isfunction)
    if name[:3] == "on_"
)


class TuneCallback(Callback):  # type: ignore[misc]  # lightning has no types here
    """Does something at chosen events of Lightning's: override `_handle`.

    Parameters: `on` is an event ("validation_end", "train_epoch_end", …) or a list of them.
    Raises ConfigError for an unknown event.
    """

    def __init__(self, on: str | Sequence[str] = "validation_end") -> None:
        super().__init__()
        chosen = [on] if isinstance(on, str) else list(on)
        unknown = sorted(set(chosen) - set(_EVENTS))
        if unknown:
            raise ConfigError(f"Lightning has no event {', '.join(unknown)}; it has {', '.join(_EVENTS)}")
        self._on = frozenset(chosen)

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no method _handle")


def _hook(event: str) -> Callable[..., None]:
    def hook(self: TuneCallback, trainer: Any, *args: Any, pl_module: Any = None, **kwargs: Any) -> None:
        if event in self._on:
            self._handle(trainer, pl_module if pl_module is not None or not args else args[0])

    hook.__name__ = hook.__qualname__ = f"on_{event}"
    hook.__doc__ = "Handle this event if it was chosen."
    return hook


for _event in _EVENTS:  # whatever events this version of Lightning has
    setattr(TuneCallback, f"on_{_event}", _hook(_event))


class TuneReportCheckpointCallback(TuneCallback):
    """Reports what was logged, and a checkpoint, at chosen events; not while Lightning checks the validation's sanity.

    Parameters: `metrics` are the names to report, or names to report them by; None: all. The checkpoint's file is
    called `filename`; with `save_checkpoints=False` there is none. `on` is an event or a list of them.
    Raises ConfigError for an unknown event.

    Example: `Trainer(callbacks=[TuneReportCheckpointCallback({"loss": "val_loss"}, on="validation_end")])`
    """

    def __init__(
        self,
        metrics: str | Sequence[str] | dict[str, str] | None = None,
        filename: str = "checkpoint",
        save_checkpoints: bool = True,
        on: str | Sequence[str] = "validation_end",
    ) -> None:
        super().__init__(on)
        names = [metrics] if isinstance(metrics, str) else metrics
        self._names = dict(names) if isinstance(names, dict) else {name: name for name in names or ()}
        self._filename = filename
        self._save = save_checkpoints

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
        found = {theirs: logged[name] for theirs, name in self._names.items() if name in logged}
        if self._names and not found:
            return  # nothing of it is logged yet
        if not self._save:
            report(found or logged)
            return
        with tempfile.TemporaryDirectory(prefix="shoal_lightning_") as folder:
            trainer.save_checkpoint(os.path.join(folder, self._filename))
            report(found or logged, checkpoint=Checkpoint.from_directory(folder))


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports what was logged at chosen events, without checkpoints.

    Parameters: those of TuneReportCheckpointCallback.

    Example: `Trainer(callbacks=[TuneReportCallback(["val_loss"])])`
    """

    def __init__(
        self,
        metrics: str | Sequence[str] | dict[str, str] | None = None,
        on: str | Sequence[str] = "validation_end",
    ) -> None:
        super().__init__(metrics, save_checkpoints=False, on=on)
