"""What leaves out the rows that were written before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import pyarrow as pa
import pyarrow.compute as pc

import shoal
from shoal.data.block import Block
from shoal.data.transforms import Step, Transform, need_columns

if TYPE_CHECKING:
    from shoal.data.checkpoint.config import CheckpointConfig

_TIMEOUT = 600.0  # seconds that the ids may take to reach a task


class CheckpointFilter(ABC):
    """Leaves rows out. Made in each task that reads.

    Parameters: `checkpoint_ref` is the reference to what `CheckpointManager.load_checkpoint` has put.
    """

    def __init__(self, config: CheckpointConfig, checkpoint_ref: Any) -> None:
        self.config = config
        self.checkpoint_ref = checkpoint_ref

    @abstractmethod
    def filter_rows_for_block(self, block: Block) -> Block:
        """Return the rows that are not written yet."""


class NumpyArrayBasedCheckpointFilter(CheckpointFilter):
    """Looks ids up in an array of those that are written.

    Example: `NumpyArrayBasedCheckpointFilter(config, shoal.put(pa.array([1, 2]))).filter_rows_for_block(block)`
    """

    def __init__(self, checkpoint_config: CheckpointConfig, checkpoint_ref: Any) -> None:
        super().__init__(checkpoint_config, checkpoint_ref)
        self._done: Any = None

    def filter_rows_for_block(self, block: Block) -> Block:
        """Return the rows that are not written yet. Raises KeyError for a block without the column of ids."""
        if not block.num_rows:
            return block
        need_columns(block, [self.config.id_column])
        if self._done is None:
            self._done = shoal.get(self.checkpoint_ref, timeout=_TIMEOUT)
        ids = block.column(self.config.id_column)
        done = self._done if self._done.type == ids.type else pc.cast(self._done, ids.type)
        return block.filter(pc.invert(pc.is_in(ids, value_set=done)))


@attrs.frozen(eq=False)
class LeaveOutDone(Transform):
    """The step after reading that leaves out what is written."""

    config: CheckpointConfig
    reference: Any

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"LeaveOutDone({self.config.id_column})"

    def open(self) -> Step:
        """Return what does it."""
        chosen = self.config.checkpoint_filter_cls or NumpyArrayBasedCheckpointFilter
        filter_ = chosen(self.config, self.reference)

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            for block in blocks:
                yield filter_.filter_rows_for_block(block)

        return step


def as_array(columns: list[Any]) -> Any:
    """Return ids of several files as one array."""
    return pa.concat_arrays([chunk for column in columns for chunk in column.chunks])
