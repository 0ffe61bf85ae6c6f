"""LightGBMTrainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.train.boosting import loop_of
from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.data import DataConfig
from shoal.train.lightgbm.backend import LightGBMConfig
from shoal.train.trainer import DataParallelTrainer
from shoal.train.validation import ValidationConfig


class LightGBMTrainer(DataParallelTrainer):
    """Trains with LightGBM: its own sockets join the ranks, each of which has a part of the rows.

    Parameters: those of DataParallelTrainer; `lightgbm_config` is the backend's.
    Without a function, LightGBM trains as `params` and `num_boost_round` say on the dataset "train", whose column
    `label_column` is learned; the other datasets are evaluated. `run_config.checkpoint_config` says how often there is
    a checkpoint.

    Example: `LightGBMTrainer(train, scaling_config=ScalingConfig(num_workers=2)).fit()`
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any] | None = None,
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        lightgbm_config: LightGBMConfig | None = None,
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
            backend_config=lightgbm_config or LightGBMConfig(),
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
        from shoal.train.lightgbm.checkpoint import LightGBMCheckpoint

        return LightGBMCheckpoint(checkpoint.path, checkpoint.filesystem).get_model()


def normalize_pandas_for_lightgbm(df: Any) -> Any:
    """Return a frame that LightGBM takes: columns of text become categories, columns of Arrow NumPy's.

    Example: `lightgbm.Dataset(normalize_pandas_for_lightgbm(frame))`
    """
    import pandas

    changed = {}
    for name in df.columns:
        column = df[name]
        if isinstance(column.dtype, pandas.ArrowDtype):
            column = pandas.Series(column.to_numpy(), index=column.index)
            changed[name] = column
        if not pandas.api.types.is_numeric_dtype(column.dtype) and not isinstance(
            column.dtype, pandas.CategoricalDtype
        ):
            changed[name] = column.astype("category")
    return df.assign(**changed) if changed else df


def train_simply(config: Mapping[str, Any]) -> None:
    """Train on the dataset "train" as the trainer's parameters say. Runs in every rank."""
    import lightgbm

    import shoal
    from shoal.train.calls import get_checkpoint
    from shoal.train.frames import rows_and_labels
    from shoal.train.lightgbm.backend import get_network_params
    from shoal.train.lightgbm.callback import ReportCallback

    sets: dict[str, Any] = {}
    for name in config["datasets"]:
        rows, labels = rows_and_labels(name, config["label_column"])
        whole = sets.get("train")
        sets[name] = lightgbm.Dataset(
            normalize_pandas_for_lightgbm(rows), labels, reference=whole, free_raw_data=False
        )
    # Ranks share a machine: threads for all of its cores in each would wait for each other.
    cpus = shoal.get_runtime_context().get_assigned_resources().get("CPU", 1.0)
    before = get_checkpoint()
    model = None if before is None else LightGBMTrainer.get_model(before)
    rounds = config["num_boost_round"] - (0 if model is None else model.current_iteration())
    lightgbm.train(
        {
            "tree_learner": "data",
            "pre_partition": True,
            "verbose": -1,
            "num_threads": max(1, int(cpus)),
            **config["params"],
            **get_network_params(),
        },
        sets["train"],
        num_boost_round=max(0, rounds),
        valid_sets=list(sets.values()),
        valid_names=list(sets),
        init_model=model,
        callbacks=[ReportCallback(frequency=config["frequency"], checkpoint_at_end=config["at_end"])],
    )
