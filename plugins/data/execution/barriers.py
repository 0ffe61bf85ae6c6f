"""Operators that keep all their input until the last block has come."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from shoal.data.exchanges import LEAST_PART
from shoal.data.execution.bundle import Bundle
from shoal.data.execution.operators import Operator, Running
from shoal.data.execution.work import Stage, Work

_SPLITS = 64  # tasks that split, at least, where blocks are small

Slices = list[tuple[Bundle, int, int]]  # a block, and which of its rows


class ExchangeOperator(Operator):
    """Two stages: every block is split into parts, then the parts of each partition are reduced.

    Parameters: `samples` tells whether the bounds of partitions are planned from samples first, `partitions(blocks,
    size)` says how many partitions so many blocks of so many bytes are to have, `ports` how many inputs there are.
    `chunk` is about how many bytes of blocks one task works on; a partition of more than twice as many is reduced with
    most of it on disk.
    """

    def __init__(
        self,
        name: str,
        samples: bool,
        partitions: Callable[[int, int], int],
        ports: int = 1,
        chunk: int = 2**27,
        **how: Any,
    ) -> None:
        super().__init__(name, ports, **how)
        self.barrier = True
        self._samples = samples
        self.sampled: tuple[Bundle, ...] | None = (
            None  # pieces that samples are read from; None: from the blocks
        )
        self._chunk = chunk
        self._partitions = partitions
        self._count: int | None = None
        self._stage = Stage.SAMPLE
        self._blocks: list[tuple[int, Bundle]] = []  # with the numbers of their inputs
        self._size = 0
        self._lengths: list[int] = []  # how many tasks split the blocks of each input
        self._gathered: dict[int, list[Bundle]] = {}
        self._plan: Bundle | None = None

    def advance(self) -> None:
        """Go on to the next stage as soon as one is over; samples are taken while blocks come."""
        if self.stopped:
            return
        if self._samples and self._count is None:
            blocks = self._taken()
            for number, piece in enumerate(
                blocks if self.sampled is None else self.sampled, len(self._blocks)
            ):
                self._todo.append((Stage.SAMPLE, (piece,), number, 0))
            self._blocks.extend((0, block) for block in blocks)
            self.sampled = self.sampled and ()
        if not all(self.input_ended) or self._todo or self.running:
            return
        if self._count is None:
            if not self._samples:
                self._blocks = [
                    (side, block) for side in range(len(self.queues)) for block in self._taken(side)
                ]
            if not self._blocks:
                return
            self._size = sum(block.size for _, block in self._blocks)
            self._count = self._partitions(len(self._blocks), self._size)
            if self._samples:
                self._stage = Stage.PLAN
                self._todo.append((Stage.PLAN, tuple(self._results()), 0, 0))
            else:
                self._split()
        elif self._stage is Stage.PLAN:
            [self._plan] = self._results()
            self._split()
        elif self._stage is Stage.SPLIT and self._gathered:
            parts = self._results()
            self._plan = None
            self._stage = Stage.REDUCE
            # Parts came group by group: the part of partition p of each group is every count-th from p on.
            partitions = (tuple(parts[p :: self._count]) for p in range(self._count))
            self._todo.extend((Stage.REDUCE, bundles, index, 0) for index, bundles in enumerate(partitions))

    def _taken(self, side: int = 0) -> list[Bundle]:
        """Take the blocks that have come."""
        blocks = list(self.queues[side])
        self.queues[side].clear()
        return blocks

    def _split(self) -> None:
        """Begin the tasks that split; small blocks are split together, so that parts are not many and tiny."""
        assert self._count is not None
        self._stage = Stage.SPLIT
        wanted = min(max(self._size // _SPLITS, self._count * LEAST_PART, 1), 2 * self._chunk)
        groups: list[tuple[int, list[Bundle]]] = []
        held = 0
        for side, block in self._blocks:
            if not groups or groups[-1][0] != side or held + block.size > wanted:
                groups.append((side, []))
                held = 0
            groups[-1][1].append(block)
            held += block.size
        self._blocks = []
        self._lengths = [sum(side == each for each, _ in groups) for side in range(len(self.queues))]
        for index, (side, blocks) in enumerate(groups):
            self._todo.append((Stage.SPLIT, tuple(blocks), index, side))

    def _results(self) -> list[Bundle]:
        """Take what the tasks of a stage made, in the order of the tasks."""
        made = [bundle for index in sorted(self._gathered) for bundle in self._gathered[index]]
        self._gathered = {}
        return made

    def peek(self) -> bool:
        """Tell whether a task of the stage is left to start."""
        return bool(self._todo)

    def begin(self, task: int) -> Work:
        """Return the next task of the stage."""
        stage, bundles, index, side = self._todo.popleft()
        count = self._count or 1
        argument: Any = count
        parts = 1
        if stage is Stage.SPLIT:
            planned = self._plan is not None
            bundles = (self._plan, *bundles) if planned else bundles
            argument, parts = (count, side, planned), count
        elif stage is Stage.REDUCE:
            limit = 2 * self._chunk
            too_large = sum(bundle.size for bundle in bundles) > limit
            argument, parts = (tuple(self._lengths), limit if too_large else None), 0
            self.out.open(task)
        work = Work(task, self.number, stage, bundles, index, argument, parts)
        self.started += 1
        self.running[task] = Running(work)
        return work

    def produced(self, task: int, bundle: Bundle) -> None:
        """Take in a block of the last stage, or what another stage made for the next one."""
        work = self.running[task].work
        if work.stage is Stage.REDUCE:
            super().produced(task, bundle)
        else:
            self._gathered.setdefault(work.index, []).append(bundle)

    def finished(self, task: int) -> None:
        """Note that a task has ended well."""
        work = self.running.pop(task).work
        if work.stage is Stage.REDUCE:
            self.out.end(task)

    def stop(self) -> list[int]:
        """Drop what is there and return the tasks that are to be cancelled."""
        self._blocks, self._gathered, self._plan = [], {}, None
        return super().stop()

    def complete(self) -> bool:
        """Tell whether no more blocks will come out."""
        if self.stopped:
            return True
        if not all(self.input_ended) or any(self.queues) or self.running or self._todo:
            return False
        return self._stage is Stage.REDUCE or (not self._blocks and self._count is None)


class RealignOperator(Operator):
    """The same rows in the same order, cut anew: `cut(rows)` says which row each block begins with."""

    def __init__(self, name: str, cut: Callable[[int], list[int]], **how: Any) -> None:
        super().__init__(name, 1, **how)
        self.barrier = True
        self._cut = cut

    def advance(self) -> None:
        """Cut, when the last block has come."""
        if all(self.input_ended) and self.queues[0]:
            bundles = list(self.queues[0])
            self.queues[0].clear()
            rows = sum(bundle.rows for bundle in bundles)
            starts = self._cut(rows)
            for start, end in zip(starts, [*starts[1:], rows], strict=True):
                slices = slices_of(bundles, start, end)
                self._todo.append(slices or [(bundles[0], 0, 0)])

    def peek(self) -> bool:
        """Tell whether a block is left to make."""
        return bool(self._todo)

    def begin(self, task: int) -> Work:
        """Return the task that makes the next block."""
        slices = self._todo.popleft()
        self.out.open(task)
        places = tuple((start, stop) for _, start, stop in slices)
        return self._begun(task, Stage.GATHER, tuple(bundle for bundle, _, _ in slices), places)

    def complete(self) -> bool:
        """Tell whether no more blocks will come out."""
        return self.stopped or (super().complete() and not self._todo)


class ZipOperator(Operator):
    """Blocks of the left input, each with the same rows of the right one beside it."""

    def __init__(self, name: str, **how: Any) -> None:
        super().__init__(name, 2, **how)
        self.barrier = True
        self.error: Exception | None = None

    def advance(self) -> None:
        """Lay the inputs side by side when the last block has come. Sets `error` if they differ in length."""
        if not all(self.input_ended) or not any(self.queues) or self.error:
            return
        left, right = (list(queue) for queue in self.queues)
        rows = [sum(bundle.rows for bundle in side) for side in (left, right)]
        if rows[0] != rows[1]:
            self.error = ValueError(
                f"zip needs datasets of the same length, not {rows[0]} and {rows[1]} rows"
            )
            return
        for queue in self.queues:
            queue.clear()
        at = 0
        for bundle in left:
            if bundle.rows:
                self._todo.append((bundle, slices_of(right, at, at + bundle.rows)))
                at += bundle.rows

    def peek(self) -> bool:
        """Tell whether a block is left to make."""
        return bool(self._todo)

    def begin(self, task: int) -> Work:
        """Return the task that makes the next block."""
        bundle, slices = self._todo.popleft()
        self.out.open(task)
        places = tuple((start, stop) for _, start, stop in slices)
        return self._begun(task, Stage.ZIP, (bundle, *(each for each, _, _ in slices)), places)

    def complete(self) -> bool:
        """Tell whether no more blocks will come out."""
        return self.stopped or (super().complete() and not self._todo)


class ShuffleBlocksOperator(Operator):
    """The same blocks in a random order."""

    def __init__(self, name: str, seed: int | None) -> None:
        super().__init__(name, 1, cpus=0.0)
        self.barrier = True
        self.makes = False
        self._random = random.Random(seed)

    def advance(self) -> None:
        """Put the blocks in order when the last one has come."""
        if all(self.input_ended) and self.queues[0]:
            bundles = list(self.queues[0])
            self.queues[0].clear()
            self._random.shuffle(bundles)
            for bundle in bundles:
                self.out.pass_on(bundle)

    def peek(self) -> bool:
        """Nothing is to be started."""
        return False

    def begin(self, task: int) -> Work:
        """Never called."""
        raise AssertionError("nothing is started")


def slices_of(bundles: Sequence[Bundle], start: int, end: int) -> Slices:
    """Return which rows of which blocks are the rows from `start` to `end` of all of them.

    Example: `slices_of([Bundle(a, 3, 24), Bundle(b, 3, 24)], 2, 4)  # the last row of a and the first of b`
    """
    found: Slices = []
    at = 0
    for bundle in bundles:
        low, high = max(start - at, 0), min(end - at, bundle.rows)
        if low < high:
            found.append((bundle, low, high))
        at += bundle.rows
    return found
