"""shoal.train's trackers, a run of theirs for each trial: TensorBoard, MLflow, Weights & Biases, and others alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

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
                train_loop_config=self._parameters(trial),
            )
            tracker = self._make()
            tracker.on_start(context)
            self._began(trial, tracker)
            self._open[trial.trial_id] = tracker, context
        return self._open[trial.trial_id]

    def _parameters(self, trial: Trial) -> dict[str, Any]:
        """Return what the tracker is told of the configuration."""
        return flat(trial.config)

    def _began(self, trial: Trial, tracker: Any) -> None:
        """Tell the tracker more, at its begin."""

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

    At its end a trial's parameters, and its last numbers, go to TensorBoard's table of hyperparameters: those
    of the types `VALID_HPARAMS`, and numbers of numpy.
    Raises ConfigError at the first report without it.
    """

    VALID_HPARAMS: ClassVar[tuple[type, ...]] = (str, bool, int, float, list, type(None))
    VALID_NP_HPARAMS: ClassVar[tuple[str, ...]] = ("bool", "float16", "float32", "float64", "int32", "int64")

    def __init__(self) -> None:
        super().__init__(TensorBoardLogger)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write the table's row, and close the trial's file."""
        if trial.trial_id in self._open and trial.last_result:
            self._write_parameters(trial)
        super().log_trial_end(trial, failed)

    def _write_parameters(self, trial: Trial) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        given: dict[str, Any] = {}
        for name, value in flat(trial.config).items():
            if type(value).__module__ == "numpy" and type(value).__name__ in self.VALID_NP_HPARAMS:
                given[name] = value.item()
            elif isinstance(value, self.VALID_HPARAMS):
                given[name] = str(value) if value is None or isinstance(value, list) else value
        numbers = {
            name: float(value)
            for name, value in flat(trial.last_result).items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        folder = self._open[trial.trial_id][1].path
        with SummaryWriter(folder, filename_suffix=".parameters") as writer:  # beside the file that is open
            for summary in hparams(given, numbers):
                writer.file_writer.add_summary(summary)


class MLflowLoggerCallback(TrackerCallback):
    """Logs each trial as a run of MLflow. Needs mlflow or mlflow-skinny.

    Parameters: `tracking_uri` and `registry_uri` are MLflow's, `experiment_name` the experiment's there. Each run has
    the `tags`. `tracking_token` is the server's. With `save_artifact` a trial's folder is uploaded at its end. With
    `log_params_on_trial_end` a configuration is logged then, as schedulers may change it.
    Raises ConfigError at the first report without the package.

    Example: `RunConfig(callbacks=[MLflowLoggerCallback("sqlite:///runs.db", experiment_name="digits")])`
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        registry_uri: str | None = None,
        experiment_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        tracking_token: str | None = None,
        save_artifact: bool = False,
        log_params_on_trial_end: bool = False,
    ) -> None:
        if tracking_token:
            os.environ["MLFLOW_TRACKING_TOKEN"] = tracking_token  # where MLflow looks for it
        self._tags = dict(tags or {})
        self._artifacts = save_artifact
        self._late = log_params_on_trial_end
        super().__init__(
            lambda: MLflowLogger(tracking_uri, experiment_name or "shoal", registry_uri=registry_uri)
        )

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Know the experiment."""
        super().setup(*args, **kwargs)

    def _parameters(self, trial: Trial) -> dict[str, Any]:
        return {} if self._late else super()._parameters(trial)

    def _began(self, trial: Trial, tracker: Any) -> None:
        for name, value in self._tags.items():
            tracker.client.set_tag(tracker.run_id, name, value)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the run."""
        if trial.trial_id in self._open:
            tracker, context = self._open[trial.trial_id]
            assert isinstance(tracker, MLflowLogger)
            if self._late:
                for name, value in flat(trial.config).items():
                    tracker.client.log_param(tracker.run_id, name, value)
            if self._artifacts and os.path.isdir(context.path):
                tracker.client.log_artifacts(tracker.run_id, context.path)
        super().log_trial_end(trial, failed)


class WandbLoggerCallback(TrackerCallback):
    """Logs each trial as a run of Weights & Biases. Needs wandb; trials that run at once need `reinit="create_new"`.

    Parameters: `project` and `group` are theirs; `api_key` is the account's, or the first line of `api_key_file`.
    Metrics in `excludes` are not logged; with `log_config` each report has the configuration. `kwargs` are more of
    `wandb.init`, such as `mode="offline"`.
    Raises ConfigError at the first report without the package.

    Example: `RunConfig(callbacks=[WandbLoggerCallback("digits", mode="offline")])`
    """

    def __init__(
        self,
        project: str = "shoal",
        group: str | None = None,
        api_key_file: str | None = None,
        api_key: str | None = None,
        excludes: Sequence[str] | None = None,
        log_config: bool = False,
        **kwargs: Any,
    ) -> None:
        self._excludes = frozenset(excludes or ())
        self._configures = log_config
        if api_key_file:
            with open(os.path.expanduser(api_key_file), encoding="utf-8") as file:
                api_key = file.readline().strip()
        if api_key:
            os.environ["WANDB_API_KEY"] = api_key  # where wandb looks for it
        options = {"reinit": "create_new", **({"group": group} if group else {}), **kwargs}
        super().__init__(lambda: WandbLogger(project, **options))

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Know the experiment."""
        super().setup(*args, **kwargs)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log a report."""
        seen = {name: value for name, value in result.items() if name not in self._excludes}
        super().log_trial_result(
            iteration, trial, {**seen, "config": trial.config} if self._configures else seen
        )
