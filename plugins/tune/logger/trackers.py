"""shoal.train's trackers, a run of theirs for each trial: TensorBoard, MLflow, Weights & Biases, and others alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.train.callbacks import RunContext, UserCallback
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.result import Result
from shoal.train.trackers import MLflowLogger, TensorBoardLogger, WandbLogger
from shoal.tune.analysis import flat
from shoal.tune.logger.logger import LoggerCallback

if TYPE_CHECKING:
    from shoal.tune.experiment.trial import Trial

__all__ = ["MLflowLoggerCallback", "TBXLoggerCallback", "TrackerCallback", "WandbLoggerCallback"]


class TrackerCallback(LoggerCallback):
    """Leads a tracker of shoal.train for each trial: any UserCallback with `on_start`, `after_report` and `on_end`.

    Parameters: `make` makes a tracker.

    Example: `TrackerCallback(lambda: MLflowLogger("sqlite:///runs.db", "digits"))`
    """

    def __init__(self, make: Callable[[], UserCallback]) -> None:
        self._make = make
        self._open: dict[str, tuple[UserCallback, RunContext]] = {}

    def _of(self, trial: Trial) -> tuple[UserCallback, RunContext]:
        if trial.trial_id not in self._open:
            context = RunContext(
                name=trial.dirname or trial.trial_id,
                path=f"{self.path}/{trial.dirname}",
                run_config=RunConfig(),
                scaling_config=ScalingConfig(),
                train_loop_config=flat(trial.config),
            )
            tracker = self._make()
            tracker.on_start(context)
            self._open[trial.trial_id] = tracker, context
        return self._open[trial.trial_id]

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log a report."""
        tracker, context = self._of(trial)
        tracker.after_report(context, [flat(result)], None)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the tracker's run."""
        found = self._open.pop(trial.trial_id, None)
        if found is not None:
            tracker, context = found
            error = RuntimeError(trial.error) if failed else None
            tracker.on_end(context, Result(metrics=trial.last_result, checkpoint=None, error=error))


class TBXLoggerCallback(TrackerCallback):
    """Writes each trial's events for TensorBoard to its folder. Needs tensorboardX.

    Raises ConfigError at the first report without it.
    """

    def __init__(self) -> None:
        super().__init__(TensorBoardLogger)


class MLflowLoggerCallback(TrackerCallback):
    """Logs each trial as a run of MLflow. Needs mlflow or mlflow-skinny.

    Parameters: `tracking_uri` is MLflow's, `experiment_name` the experiment's there.
    Raises ConfigError at the first report without the package.

    Example: `RunConfig(callbacks=[MLflowLoggerCallback("sqlite:///runs.db", experiment_name="digits")])`
    """

    def __init__(self, tracking_uri: str | None = None, *, experiment_name: str | None = None) -> None:
        super().__init__(lambda: MLflowLogger(tracking_uri, experiment_name or "shoal"))


class WandbLoggerCallback(TrackerCallback):
    """Logs each trial as a run of Weights & Biases. Needs wandb; trials that run at once need `reinit="create_new"`.

    Parameters: `project` and `group` are theirs, `kwargs` more of `wandb.init`, such as `mode="offline"`.
    Raises ConfigError at the first report without the package.

    Example: `RunConfig(callbacks=[WandbLoggerCallback("digits", mode="offline")])`
    """

    def __init__(self, project: str = "shoal", group: str | None = None, **kwargs: Any) -> None:
        options = {"reinit": "create_new", **({"group": group} if group else {}), **kwargs}
        super().__init__(lambda: WandbLogger(project, **options))
