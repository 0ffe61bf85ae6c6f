"""XGBoostTrainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.train.boosting import loop_of
from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.data import DataConfig
from shoal.train.trainer import DataParallelTrainer
from shoal.train.validation import ValidationConfig
from shoal.train.xgboost.backend import XGBoostConfig


class XGBoostTrainer(DataParallelTrainer):
    """Trains with XGBoost: its own collective operations join the ranks, each of which has a part of the rows.

    Parameters: those of DataParallelTrainer; `xgboost_config` is the backend's.
    Without a function, XGBoost trains as `params` and `num_boost_round` say on the dataset "train", whose column
    `label_column` is learned; the other datasets are evaluated. `run_config.checkpoint_config` says how often there is
    a checkpoint.

    Example: `XGBoostTrainer(train, scaling_config=ScalingConfig(num_workers=2)).fit()`
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any] | None = None,
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        xgboost_config: XGBoostConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Any] | None = None,
        dataset_config: DataConfig | None = None,
        validation_config: ValidationConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        label_column: str | None = None,
        params: Mapping[str, Any] | None = None,
        num_boost_round: int = 10,
    ) -> None:
        loop, loop_config = loop_of(
            train_loop_per_worker,
            train_loop_config,
            train_simply,
            label_column=label_column,
            params=params,
            num_boost_round=num_boost_round,
            datasets=datasets,
            run_config=run_config,
        )
        super().__init__(
            loop,
            train_loop_config=loop_config,
            backend_config=xgboost_config or XGBoostConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )

    @classmethod
    def get_model(cls, checkpoint: Checkpoint) -> Any:
        """Return the booster in a checkpoint."""
        from shoal.train.xgboost.checkpoint import XGBoostCheckpoint

        return XGBoostCheckpoint(checkpoint.path, checkpoint.filesystem).get_model()


def train_simply(config: Mapping[str, Any]) -> None:
    """Train on the dataset "train" as the trainer's parameters say. Runs in every rank."""
    import xgboost

    import shoal
    from shoal.train.calls import get_checkpoint
    from shoal.train.frames import rows_and_labels
    from shoal.train.xgboost.callback import ReportCallback

    sets = {
        name: xgboost.DMatrix(*rows_and_labels(name, config["label_column"])) for name in config["datasets"]
    }
    before = get_checkpoint()
    model = None if before is None else XGBoostTrainer.get_model(before)
    rounds = config["num_boost_round"] - (0 if model is None else model.num_boosted_rounds())
    # Ranks share a machine: threads for all of its cores in each would wait for each other.
    cpus = shoal.get_runtime_context().get_assigned_resources().get("CPU", 1.0)
    xgboost.train(
        {"nthread": max(1, int(cpus)), **config["params"]},
        sets["train"],
        num_boost_round=max(0, rounds),
        evals=[(matrix, name) for name, matrix in sets.items()],
        verbose_eval=False,
        xgb_model=model,
        callbacks=[ReportCallback(frequency=config["frequency"], checkpoint_at_end=config["at_end"])],
    )
