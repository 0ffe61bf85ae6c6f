"""Reports of Transformers' Trainer."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, ClassVar

from torch.utils.data import IterableDataset
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from shoal.train.calls import report
from shoal.train.checkpoint import Checkpoint
from shoal.train.session import session_here


class ReportCallback(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Reports what was logged, and a checkpoint, whenever the Trainer saves one.

    Example: `trainer.add_callback(ReportCallback())`
    """

    CHECKPOINT_NAME: ClassVar[str] = "checkpoint"

    def __init__(self) -> None:
        super().__init__()
        self._metrics: dict[str, Any] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Keep what was logged last."""
        self._metrics.update(logs or {})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report."""
        metrics = {**self._metrics, "step": state.global_step, "epoch": state.epoch}
        source = get_last_checkpoint(args.output_dir)
        if session_here("ReportCallback").place.world_rank != 0 or source is None:
            report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(source, os.path.join(folder, self.CHECKPOINT_NAME))
            report(metrics, Checkpoint.from_directory(folder))


class _Rows(IterableDataset):  # type: ignore[misc]
    """A part of a dataset of shoal.data, row by row."""

    def __init__(self, shard: Any) -> None:
        super().__init__()
        self._shard = shard

    def __iter__(self) -> Iterator[Any]:
        yield from self._shard.iter_rows()


def prepare_trainer(trainer: Any) -> Any:
    """Return a Transformers Trainer that takes parts of datasets of shoal.data as they are: dealt to the ranks already.

    Example: `prepare_trainer(Trainer(model, arguments, train_dataset=train.get_dataset_shard("train"))).train()`
    """
    from torch.utils.data import DataLoader

    from shoal.data import DataIterator

    session_here("train.huggingface.transformers.prepare_trainer()")

    def loader_of(shard: Any, size: int) -> Any:
        return DataLoader(_Rows(shard), batch_size=size, collate_fn=trainer.data_collator)

    if isinstance(trainer.train_dataset, DataIterator):
        train = trainer.train_dataset
        trainer.get_train_dataloader = lambda: loader_of(train, trainer.args.per_device_train_batch_size)
    evaluation = trainer.eval_dataset
    if isinstance(evaluation, DataIterator):
        trainer.get_eval_dataloader = lambda eval_dataset=None: loader_of(
            eval_dataset if isinstance(eval_dataset, DataIterator) else evaluation,
            trainer.args.per_device_eval_batch_size,
        )
    return trainer
