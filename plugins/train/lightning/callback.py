"""Reports of Lightning's epochs."""

from __future__ import annotations

import os
import tempfile
from typing import Any, ClassVar

from lightning.pytorch.callbacks import Callback

from shoal.errors import ConfigError
from shoal.train.calls import report
from shoal.train.checkpoint import Checkpoint
from shoal.train.lightning.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    LightningEnvironment,
)
from shoal.train.session import session_here
from shoal.train.uploads import CheckpointUploadMode
from shoal.train.validation import ValidationTaskConfig


class ReportCallback(Callback):  # type: ignore[misc]  # lightning has no types here
    """Reports what was logged, and a checkpoint, after each epoch of training.

    Parameters: as of `train.report`.

    Example: `Trainer(callbacks=[ReportCallback()])`
    """

    CHECKPOINT_NAME: ClassVar[str] = "checkpoint.ckpt"

    def __init__(
        self,
        checkpoint_upload_mode: CheckpointUploadMode = CheckpointUploadMode.STAGED,
        validation: bool | ValidationTaskConfig = False,
    ) -> None:
        super().__init__()
        self._mode = checkpoint_upload_mode
        self._validation = validation

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report an epoch."""
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        metrics |= {"epoch": trainer.current_epoch, "step": trainer.global_step}
        folder = tempfile.mkdtemp(prefix="shoal_lightning_")
        path = os.path.join(folder, self.CHECKPOINT_NAME)
        trainer.save_checkpoint(path, weights_only=False)  # all ranks take part
        # A strategy that deals the model to the ranks writes on each; else rank 0 has it all.
        saves = os.path.exists(path)
        report(
            metrics,
            Checkpoint.from_directory(folder) if saves else None,
            checkpoint_upload_mode=self._mode,
            delete_local_checkpoint_after_upload=True,
            validation=self._validation if saves else False,
        )
        if not saves:
            os.rmdir(folder)


def prepare_trainer(trainer: Any) -> Any:
    """Return a Lightning Trainer that fits this run. Raises ConfigError if its strategy or environment does not.

    Example: `prepare_trainer(Trainer(strategy=DDPStrategy(), plugins=[LightningEnvironment()])).fit(model)`
    """
    session_here("train.lightning.prepare_trainer()")
    ours = (DDPStrategy, FSDPStrategy, DeepSpeedStrategy)
    if not isinstance(trainer.strategy, ours):
        raise ConfigError(
            f"the Trainer's strategy must be one of shoal.train.lightning's, "
            f"{', '.join(each.__name__ for each in ours)}, not {type(trainer.strategy).__name__}"
        )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if not isinstance(environment, LightningEnvironment):
        raise ConfigError(
            f"the Trainer needs plugins=[shoal.train.lightning.LightningEnvironment()], it has "
            f"{type(environment).__name__}"
        )
    return trainer
