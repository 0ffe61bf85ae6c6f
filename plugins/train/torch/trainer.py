"""TorchTrainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.data import DataConfig
from shoal.train.torch.backend import TorchConfig
from shoal.train.trainer import DataParallelTrainer
from shoal.train.validation import ValidationConfig


class TorchTrainer(DataParallelTrainer):
    """Trains with PyTorch: every worker is a rank of a process group of torch.distributed.

    Parameters: those of DataParallelTrainer; `torch_config` says which backend torch.distributed uses.

    Example: `TorchTrainer(train, scaling_config=ScalingConfig(num_workers=4)).fit()`
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        torch_config: TorchConfig | None = None,
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
            backend_config=torch_config or TorchConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )
