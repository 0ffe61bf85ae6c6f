"""What is known of blocks and of what making them took, for authors of sources who tell."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from shoal.data.block import Block, size_of
from shoal.data.sources.datasource import BlockMetadata, BlockStats


@attrs.frozen
class CustomOpStats:
    """What an operator of one's own wants to tell besides the usual: subclass it with fields."""


@attrs.frozen(kw_only=True)
class TaskExecWorkerStats:
    """What a task took where it ran: seconds, the most bytes of its process's own memory, and what else it tells."""

    task_wall_time_s: float | None = None
    max_uss_bytes: int | None = None
    custom_op_stats: CustomOpStats | None = None


@attrs.frozen(kw_only=True)
class BlockExecStats:
    """What making one block took, in seconds; None where it was not measured. `builder` measures.

    Example: `stats = BlockExecStats.builder(); ...; stats.build()`
    """

    task_idx: int | None = None
    node_id: str | None = None
    start_time_s: float | None = None
    end_time_s: float | None = None
    wall_time_s: float | None = None
    block_transform_time_s: float | None = None
    input_prep_time_s: float | None = None
    function_body_time_s: float | None = None
    output_build_time_s: float | None = None
    stage_time_s: float | None = None
    block_ser_time_s: float | None = None
    cpu_time_s: float | None = None

    @staticmethod
    def builder() -> BlockExecStatsBuilder:
        """Return what measures from now on."""
        return BlockExecStatsBuilder()


class BlockExecStatsBuilder:
    """Measures the time and the CPU's time of this process from when it is made."""

    def __init__(self) -> None:
        self._start, self._wall, self._cpu = time.time(), time.perf_counter(), time.process_time()

    def build(self, block_ser_time_s: float | None = None) -> BlockExecStats:
        """Return what was measured so far; `block_ser_time_s` is what storing the block took of it."""
        wall = time.perf_counter() - self._wall
        return BlockExecStats(
            start_time_s=self._start,
            end_time_s=self._start + wall,
            wall_time_s=wall,
            cpu_time_s=time.process_time() - self._cpu,
            block_ser_time_s=block_ser_time_s,
        )


@attrs.frozen(kw_only=True)
class BlockMetadataWithSchema:
    """What is known of a block, and its Arrow schema.

    Example: `BlockMetadataWithSchema.from_block(table)`
    """

    num_rows: int | None
    size_bytes: int | None
    exec_stats: BlockExecStats | None = None
    task_exec_stats: TaskExecWorkerStats | None = None
    input_files: Sequence[str] | None = None
    schema: Any = None

    @classmethod
    def from_block(
        cls,
        block: Block,
        block_exec_stats: BlockExecStats | None = None,
        task_exec_stats: TaskExecWorkerStats | None = None,
    ) -> BlockMetadataWithSchema:
        """Return what is known of a table."""
        return cls(
            num_rows=block.num_rows,
            size_bytes=size_of(block),
            exec_stats=block_exec_stats,
            task_exec_stats=task_exec_stats,
            schema=block.schema,
        )

    @classmethod
    def from_metadata(cls, metadata: BlockMetadata, schema: Any = None) -> BlockMetadataWithSchema:
        """Return the same with a schema."""
        return cls(**attrs.asdict(metadata, recurse=False), schema=schema)

    @property
    def metadata(self) -> BlockMetadata:
        """The same without the schema."""
        known = attrs.asdict(self, recurse=False)
        del known["schema"]
        return BlockMetadata(**known)


def to_stats(metas: Iterable[BlockMetadata]) -> list[BlockStats]:
    """Return the statistics of what is known of blocks.

    Example: `to_stats([task.metadata for task in source.get_read_tasks(4)])`
    """
    return [each.to_stats() for each in metas]
