"""A write with a checkpoint: the plan leaves out what is done, the sink notes what it has done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import pyarrow as pa

import shoal
from shoal.data.block import Block
from shoal.data.checkpoint.config import CheckpointConfig
from shoal.data.checkpoint.filters import LeaveOutDone
from shoal.data.checkpoint.interfaces import InvalidCheckpointingConfig, InvalidCheckpointingOperators
from shoal.data.checkpoint.manager import Folder, IdColumnCheckpointManager, clean
from shoal.data.plan.logical import Map, Node, Read
from shoal.data.sinks.datasink import Datasink, TaskContext, WriteResult
from shoal.data.sinks.files import FileDatasink, SaveMode

if TYPE_CHECKING:
    from shoal.data.context import DataContext


def go_on(
    plan: Node, sink: Datasink[Any], config: CheckpointConfig, context: DataContext
) -> tuple[Node, Datasink[Any]]:
    """Return a plan and a sink that write what earlier runs have not.

    Raises InvalidCheckpointingOperators for steps or sinks that this does not work for.
    """
    if not isinstance(sink, FileDatasink):
        raise InvalidCheckpointingOperators(
            f"a checkpoint is for writes of files, and {sink.describe()} is none; take checkpoint_config away"
        )
    _check(plan)
    if not shoal.is_initialized():
        shoal.init()
    folder = Folder(config)
    folder.make()
    clean(folder, lambda task: sink.of_task(task).delete_own())
    manager = (config.checkpoint_manager_cls or IdColumnCheckpointManager)(config, context)
    done = manager.load_checkpoint(sink.path, sink.filesystem)
    if done is not None:
        sink.mode = SaveMode.APPEND  # it is the same write that goes on
        plan = _after_read(plan, LeaveOutDone(config, done))
    return plan, _Noting(sink, config)


def _check(plan: Node) -> None:
    node = plan
    while isinstance(node, Map):
        node = node.input
    if not isinstance(node, Read):
        raise InvalidCheckpointingOperators(
            f"a checkpoint cannot look through {node.label}; only reading, mapping and filtering may come before a "
            "write with one. Write what comes before it apart"
        )


def _after_read(plan: Node, step: LeaveOutDone) -> Node:
    if isinstance(plan, Map):
        return attrs.evolve(plan, input=_after_read(plan.input, step))
    return Map(plan, (step,))


class _Noting(Datasink[list[str]]):
    """Writes as another sink does, and notes the ids of what is written."""

    def __init__(self, sink: FileDatasink, config: CheckpointConfig) -> None:
        self._sink = sink
        self._config = config

    @property
    def skips(self) -> bool:
        """Whether nothing is to be written."""
        return self._sink.skips

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows one call of `write` should have at least."""
        return self._sink.min_rows_per_write

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return self._sink.describe()

    def on_write_start(self, schema: Any = None) -> None:
        """Make the folder of the files."""
        self._sink.on_write_start(schema)

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> list[str]:
        """Write, then note the ids. Raises InvalidCheckpointingConfig for rows without one."""
        ids: list[Any] = []

        def seen() -> Iterator[Block]:
            for block in blocks:
                if block.num_rows:
                    ids.extend(self._ids(block).chunks)
                yield block

        task = f"{self._sink.id}t{ctx.task_idx:06}"
        folder = Folder(self._config)
        folder.begin(task)
        paths = self._sink.of_task(task).write(seen(), ctx)
        if ids:
            folder.finish(task, pa.chunked_array(ids))
        else:
            folder.forget(task)
        return paths

    def on_write_complete(self, write_result: WriteResult[list[str]]) -> None:
        """Delete the checkpoint, if that is wanted."""
        self._sink.on_write_complete(write_result)
        if self._config.delete_checkpoint_on_success:
            Folder(self._config).delete()

    def on_write_failed(self, error: BaseException) -> None:
        """Delete what was not finished; the rest is what the next run goes on from."""
        try:
            clean(Folder(self._config), lambda task: self._sink.of_task(task).delete_own())
        except OSError as second:  # the first error is the one to tell of
            if hasattr(error, "add_note"):
                error.add_note(f"what was not finished could not be deleted: {second}")

    def _ids(self, block: Block) -> Any:
        name = self._config.id_column
        if name not in block.column_names:
            raise InvalidCheckpointingConfig(
                f"what is written has no column {name!r} of ids; it has {', '.join(block.column_names)}. Keep the "
                "column through all steps"
            )
        ids = block.column(name)
        if ids.null_count:
            raise InvalidCheckpointingConfig(f"the column {name!r} of ids has {ids.null_count} nulls")
        return ids
