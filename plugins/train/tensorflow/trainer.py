"""TensorflowTrainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.data import DataConfig
from shoal.train.tensorflow.backend import TensorflowConfig
from shoal.train.trainer import DataParallelTrainer
from shoal.train.validation import ValidationConfig


class TensorflowTrainer(DataParallelTrainer):
    """Trains with TensorFlow: each worker finds the others in TF_CONFIG, as MultiWorkerMirroredStrategy wants it.

    Parameters: those of DataParallelTrainer; `tensorflow_config` is the backend's.

    Example: `TensorflowTrainer(train, scaling_config=ScalingConfig(num_workers=2)).fit()`
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        tensorflow_config: TensorflowConfig | None = None,
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
            backend_config=tensorflow_config or TensorflowConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=dataset_config,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            validation_config=validation_config,
        )


def prepare_dataset_shard(tf_dataset_shard: Any) -> Any:
    """Return a tf.data.Dataset that TensorFlow does not deal to the workers once more: it is a worker's part already.

    Example: `model.fit(prepare_dataset_shard(dataset))`
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return tf_dataset_shard.with_options(options)
