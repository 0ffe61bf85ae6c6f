"""Settings of datasets: how large blocks are and how much a pipeline may hold at a time."""

from __future__ import annotations

import copy
import threading
from typing import ClassVar

import attrs

from shoal.data.resources import ExecutionResources


@attrs.define
class ExecutionOptions:
    """How a dataset is executed.

    Parameters: `resource_limits` bounds the CPUs and the bytes of blocks (`object_store_memory`) that a pipeline uses;
    `preserve_order` keeps rows in the order of their source (without it, blocks come as they are made);
    `verbose_progress` shows a bar for each operator instead of one.

    Example: `DataContext.get_current().execution_options.preserve_order = False`
    """

    resource_limits: ExecutionResources = attrs.field(factory=ExecutionResources)
    preserve_order: bool = True
    verbose_progress: bool = False


@attrs.define
class DataContext:
    """The settings of the datasets that this process makes; a dataset keeps those it was made with.

    Parameters: `target_max_block_size` (bytes) is where an operator begins its next block, `target_min_block_size`
    (bytes) what a read's pieces do not fall below without need, `default_batch_size` (rows) what `map_batches` takes
    for "default", `max_shuffle_partitions` how many partitions a shuffle chooses at most, `enable_progress_bars` draws
    them where standard error is a terminal.

    Example: `DataContext.get_current().target_max_block_size = 32 * 2**20`
    """

    target_max_block_size: int = 128 * 2**20
    target_min_block_size: int = 1 * 2**20
    default_batch_size: int = 1024
    max_shuffle_partitions: int = 200
    enable_progress_bars: bool = True
    execution_options: ExecutionOptions = attrs.field(factory=ExecutionOptions)

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _current: ClassVar[DataContext | None] = None

    @classmethod
    def get_current(cls) -> DataContext:
        """Return this process's settings; changing them changes the datasets made from then on.

        Example: `DataContext.get_current().enable_progress_bars = False`
        """
        with cls._lock:
            if DataContext._current is None:
                DataContext._current = DataContext()
            return DataContext._current

    def copy(self) -> DataContext:
        """Return settings of their own, equal to these.

        Example: `mine = DataContext.get_current().copy()`
        """
        return copy.deepcopy(self)
