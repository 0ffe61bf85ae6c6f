"""Settings of datasets: how large blocks are and how much a pipeline may hold at a time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs

from shoal.data.resources import ExecutionResources, check_limits
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.checkpoint.config import CheckpointConfig


NodeIdStr: TypeAlias = str  # the identifier of a node, as `get_node_id()` of the runtime context gives it


def _allowance(instance: object, attribute: attrs.Attribute[int], value: Any) -> None:
    if type(value) is not int or value < -1:
        raise ValueError(
            f"{attribute.name} must be a whole number ≥ 0, or -1 for any number, not {describe(value)}"
        )


def _seconds(instance: object, attribute: attrs.Attribute[float | None], value: Any) -> None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0
    ):
        raise ValueError(f"{attribute.name} must be seconds > 0, or None for no bound, not {describe(value)}")


@attrs.define
class ExecutionOptions:
    """How a dataset is executed.

    Parameters: `resource_limits` bounds the CPUs, GPUs and memory of all tasks, and the bytes of blocks
    (`object_store_memory`), that a pipeline uses; `exclude_resources` are taken off what the session has, and left
    to others; `preserve_order` keeps rows in the order of their source (without it, blocks come as they are made);
    `label_selector` says on which nodes tasks may run that do not say so themselves; `verbose_progress` shows a bar
    for each operator instead of one.
    Raises TypeError or ValueError for limits below 0.

    Example: `DataContext.get_current().execution_options.preserve_order = False`
    """

    resource_limits: ExecutionResources = attrs.field(factory=ExecutionResources, validator=check_limits)
    preserve_order: bool = True
    verbose_progress: bool = False
    exclude_resources: ExecutionResources = attrs.field(
        factory=ExecutionResources.zero, validator=check_limits
    )
    label_selector: Mapping[str, str] | None = None

    def is_resource_limits_default(self) -> bool:
        """Tell whether nothing is bounded."""
        return self.resource_limits == ExecutionResources()

    def validate(self) -> None:
        """Raise ValueError for options that contradict each other.

        Example: `options.validate()`
        """
        limits, excluded = self.resource_limits, self.exclude_resources
        for name in ("cpu", "gpu", "object_store_memory", "memory"):
            if getattr(excluded, name) is None:
                raise ValueError(f"exclude_resources must say how much: {name} has no bound")
            if getattr(limits, name) is not None and getattr(excluded, name):
                raise ValueError(
                    f"resource_limits and exclude_resources both speak of {name}; a limit needs nothing excluded"
                )


@attrs.define
class DataContext:
    """The settings of the datasets that this process makes; a dataset keeps those it was made with.

    Parameters: `target_max_block_size` (bytes) is where an operator begins its next block, `target_min_block_size`
    (bytes) what a read's pieces do not fall below without need, `default_batch_size` (rows) what `map_batches` takes
    for "default", `max_shuffle_partitions` how many partitions a shuffle chooses at most, `enable_progress_bars` draws
    them where standard error is a terminal. `max_errored_blocks` is how many tasks of maps may fail by what the
    program's functions raise, and are left out from there on, before the execution fails (-1: any number).
    `checkpoint_config` lets writes go on where an interrupted run stopped. `execution_no_progress_timeout_s` (seconds,
    None: no bound) is how long an execution waits while none of its tasks tells anything; then it fails with
    `shoal.data.exceptions.ExecutionTimeoutError`, which says what it waits for.

    Example: `DataContext.get_current().target_max_block_size = 32 * 2**20`
    """

    target_max_block_size: int = 128 * 2**20
    target_min_block_size: int = 1 * 2**20
    default_batch_size: int = 1024
    max_shuffle_partitions: int = 200
    enable_progress_bars: bool = True
    execution_options: ExecutionOptions = attrs.field(factory=ExecutionOptions)
    max_errored_blocks: int = attrs.field(default=0, validator=_allowance)
    checkpoint_config: CheckpointConfig | None = None
    execution_no_progress_timeout_s: float | None = attrs.field(default=None, validator=_seconds)
    _more: dict[str, Any] = attrs.field(factory=dict)

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _current: ClassVar[DataContext | None] = None
    _local: ClassVar[threading.local] = threading.local()

    @classmethod
    def get_current(cls) -> DataContext:
        """Return this process's settings; changing them changes the datasets made from then on.

        Example: `DataContext.get_current().enable_progress_bars = False`
        """
        mine: DataContext | None = getattr(cls._local, "context", None)
        if mine is not None:
            return mine
        with cls._lock:
            if DataContext._current is None:
                DataContext._current = DataContext()
            return DataContext._current

    @classmethod
    @contextmanager
    def current(cls, context: DataContext) -> Iterator[DataContext]:
        """Make other settings this thread's, for as long as the block of a `with` lasts.

        Raises TypeError for what is no context.

        Example: `with DataContext.current(mine): ds = shoal.data.range(10)`
        """
        if not isinstance(context, DataContext):
            raise TypeError(f"a DataContext is needed, not {describe(context)}")
        before = getattr(cls._local, "context", None)
        cls._local.context = context
        try:
            yield context
        finally:
            cls._local.context = before

    def get_config(self, key: str, default: Any = None) -> Any:
        """Return a setting of a program's or plugin's own, or `default`.

        Example: `DataContext.get_current().get_config("my_source.retries", 3)`
        """
        return self._more.get(key, default)

    def set_config(self, key: str, value: Any) -> None:
        """Keep a setting of a program's or plugin's own. It travels with the datasets that are made from then on.

        Example: `DataContext.get_current().set_config("my_source.retries", 5)`
        """
        if not isinstance(key, str):
            raise TypeError(f"the key of a setting must be text, not {describe(key)}")
        self._more[key] = value

    def remove_config(self, key: str) -> None:
        """Forget a setting; without it nothing happens.

        Example: `DataContext.get_current().remove_config("my_source.retries")`
        """
        self._more.pop(key, None)

    def copy(self) -> DataContext:
        """Return settings of their own, equal to these.

        Example: `mine = DataContext.get_current().copy()`
        """
        return copy.deepcopy(self)
