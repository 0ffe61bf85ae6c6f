"""Loggers: callbacks that write a run's metrics down where TensorBoard, MLflow or Weights & Biases show them."""

from __future__ import annotations

import os
from numbers import Number
from typing import Any, Literal

from shoal.errors import ConfigError
from shoal.train.callbacks import RunContext, UserCallback
from shoal.train.checkpoint import Checkpoint
from shoal.train.result import Result


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value)  # type: ignore[arg-type]  # every Number that metrics hold can be one
        for name, value in metrics.items()
        if isinstance(value, Number) and not isinstance(value, complex)
    }


def _missing(package: str) -> ConfigError:
    return ConfigError(f"this logger needs the package {package}: pip install {package}")


class TensorBoardLogger(UserCallback):
    """Writes events for TensorBoard. Needs tensorboardX.

    Parameters: `folder` is where runs' folders are made; None: the run's own folder, which must be local then.
    Raises ConfigError at the run's begin without the package, or for a run's folder that is not local.

    Example: `RunConfig(callbacks=[TensorBoardLogger("boards")])`
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._writer: Any = None
        self._step = 0

    def on_start(self, run_context: RunContext) -> None:
        """Open the file of events."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboardX") from error
        folder = run_context.path if self._folder is None else os.path.join(self._folder, run_context.name)
        if self._folder is None and not os.path.isdir(folder):
            raise ConfigError(
                f"TensorBoard's events need a local folder, {folder} is none: give TensorBoardLogger one"
            )
        self._writer, self._step = SummaryWriter(folder), 0

    def after_report(
        self, run_context: RunContext, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Write rank 0's numbers."""
        for name, value in _numbers(metrics[0]).items():
            self._writer.add_scalar(name, value, self._step)
        self._step += 1

    def on_end(self, run_context: RunContext, result: Result) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class MLflowLogger(UserCallback):
    """Logs to MLflow. Needs mlflow or mlflow-skinny.

    Parameters: `tracking_uri` is MLflow's ("sqlite:///runs.db", a server's address); None: as MLflow is set up.
    `registry_uri` is that of its registry of models, `experiment` the experiment's name. Parameters of the run are the
    training function's configuration.
    Raises ConfigError at the run's begin without the package.

    Example: `RunConfig(callbacks=[MLflowLogger("sqlite:///runs.db", "digits")])`
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "shoal",
        *,
        registry_uri: str | None = None,
    ) -> None:
        self._uri = tracking_uri
        self._registry = registry_uri
        self._experiment = experiment
        self._client: Any = None
        self._run = ""
        self._step = 0

    @property
    def client(self) -> Any:
        """MLflow's client, None before the run's begin."""
        return self._client

    @property
    def run_id(self) -> str:
        """MLflow's name of the run, empty before its begin."""
        return self._run

    def on_start(self, run_context: RunContext) -> None:
        """Begin a run of MLflow's."""
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise _missing("mlflow-skinny") from error
        self._client, self._step = MlflowClient(tracking_uri=self._uri, registry_uri=self._registry), 0
        known = self._client.get_experiment_by_name(self._experiment)
        where = known.experiment_id if known is not None else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(where, run_name=run_context.name).info.run_id
        for name, value in run_context.train_loop_config.items():
            self._client.log_param(self._run, name, value)

    def after_report(
        self, run_context: RunContext, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Log rank 0's numbers."""
        for name, value in _numbers(metrics[0]).items():
            self._client.log_metric(self._run, name, value, step=self._step)
        self._step += 1

    def on_end(self, run_context: RunContext, result: Result) -> None:
        """End MLflow's run."""
        if self._run:
            self._client.set_terminated(self._run, "FAILED" if result.error is not None else "FINISHED")


class WandbLogger(UserCallback):
    """Logs to Weights & Biases. Needs wandb.

    Parameters: `project` is the project's name, `mode` "online" or "offline", and `options` are more of wandb.init's.
    Raises ConfigError at the run's begin without the package.

    Example: `RunConfig(callbacks=[WandbLogger("digits", mode="offline")])`
    """

    def __init__(
        self, project: str = "shoal", mode: Literal["online", "offline"] = "online", **options: Any
    ) -> None:
        self._project = project
        self._mode = mode
        self._options = options
        self._run: Any = None

    def on_start(self, run_context: RunContext) -> None:
        """Begin a run of theirs."""
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb") from error
        self._run = wandb.init(
            project=self._project,
            name=run_context.name,
            config=dict(run_context.train_loop_config),
            mode=self._mode,
            **self._options,
        )

    def after_report(
        self, run_context: RunContext, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Log rank 0's metrics."""
        self._run.log(metrics[0])

    def on_end(self, run_context: RunContext, result: Result) -> None:
        """End their run."""
        if self._run is not None:
            self._run.finish(exit_code=0 if result.error is None else 1)
