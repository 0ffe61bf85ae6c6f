"""HorovodTrainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.data import DataConfig
from shoal.train.horovod.backend import HorovodConfig
from shoal.train.trainer import DataParallelTrainer
from shoal.train.validation import ValidationConfig


class HorovodTrainer(DataParallelTrainer):
    """Trains with Horovod: each worker is a rank, as if `horovodrun --gloo` had started it; call `hvd.init()`.

    Parameters: those of DataParallelTrainer; `horovod_config` is the backend's.

    Example: `HorovodTrainer(train, scaling_config=ScalingConfig(num_workers=2)).fit()`
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        horovod_config: HorovodConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Any] | None = None,
        dataset_config: DataConfig | None = None,
        validation_config: ValidationConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=horovod_config or HorovodConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )
