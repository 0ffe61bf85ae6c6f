"""Being told what a run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from shoal.train.checkpoint import Checkpoint
    from shoal.train.config import RunConfig, ScalingConfig
    from shoal.train.result import Result


@attrs.frozen(kw_only=True)
class RunContext:
    """Which run it is: its name, the path of its folder, and how it was set up."""

    name: str
    path: str
    run_config: RunConfig
    scaling_config: ScalingConfig
    train_loop_config: Mapping[str, Any]


class UserCallback:
    """Told what a run does, in the program that called `fit()`. What a method raises ends the run.

    Example: `RunConfig(callbacks=[MyCallback()])`
    """

    def on_start(self, run_context: RunContext) -> None:
        """Begin: nothing runs yet."""

    def after_report(
        self, run_context: RunContext, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """All ranks have reported: their metrics by rank, and the checkpoint if there is one.

        A checkpoint may still be on its way to the storage.
        """

    def after_exception(self, run_context: RunContext, worker_exceptions: Mapping[int, Exception]) -> None:
        """Workers have failed: their errors by rank. Training may begin anew after this."""

    def on_end(self, run_context: RunContext, result: Result) -> None:
        """The run is over, well or not: `result.error` tells."""


class Callbacks:
    """All callbacks of a run."""

    def __init__(self, callbacks: Sequence[UserCallback], context: RunContext) -> None:
        self._callbacks = callbacks
        self.context = context

    def tell(self, name: str, *args: Any) -> None:
        """Call a method of each, if it has it."""
        for callback in self._callbacks:
            method = getattr(callback, name, None)
            if method is not None:
                method(self.context, *args)

    def __bool__(self) -> bool:
        return bool(self._callbacks)
