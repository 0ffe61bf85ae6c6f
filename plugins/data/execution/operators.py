"""The operators of the streaming executor: what each has, what it could do next, and when it is finished.

They know nothing of tasks that run elsewhere but their numbers. The machine asks `peek` for what an operator could
start, and then either starts it with `begin` or leaves it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

import attrs

from shoal.data.execution.bundle import Bundle
from shoal.data.execution.pool import ActorPool
from shoal.data.execution.work import Stage, Work


@attrs.define(eq=False)
class Running:
    """A task that has been started and has not ended."""

    work: Work
    asked: bool = False  # for its next block
    blocks: int = 0  # that it has made


_PASSED = -1  # stands for a task where there is none


class Output:
    """Blocks that an operator made and nobody took: in the order of the tasks that made them, or as they came."""

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._slots: dict[int, deque[Bundle]] = {}  # by task, in the order in which tasks were opened
        self._ended: set[int] = set()
        self.size = 0
        self.count = 0

    def open(self, task: int) -> None:
        """Make a place for what a task will make."""
        self._slots[task] = deque()

    def pass_on(self, bundle: Bundle) -> None:
        """Take in a block that no task of this operator made."""
        self._slots.setdefault(_PASSED, deque())
        self._ended.add(_PASSED)
        self.add(_PASSED, bundle)

    def add(self, task: int, bundle: Bundle) -> None:
        """Take a block in."""
        self._slots[task].append(bundle)
        self.size += bundle.size
        self.count += 1

    def end(self, task: int) -> None:
        """Note that a task makes no more."""
        self._ended.add(task)
        self._tidy()

    def is_head(self, task: int) -> bool:
        """Tell whether blocks of this task could be taken at once."""
        return not self._ordered or next(iter(self._slots), None) == task

    def waiting(self) -> bool:
        """Tell whether `pop` would return a block."""
        return self._next() is not None

    def pop(self) -> Bundle | None:
        """Return the next block; None if it is not there yet."""
        task = self._next()
        if task is None:
            return None
        bundle = self._slots[task].popleft()
        self.size -= bundle.size
        self.count -= 1
        self._tidy()
        return bundle

    def clear(self) -> None:
        """Drop everything."""
        self._slots.clear()
        self._ended.clear()
        self.size = self.count = 0

    def _next(self) -> int | None:
        for task, blocks in self._slots.items():
            if blocks:
                return task
            if self._ordered:
                return None
        return None

    def _tidy(self) -> None:
        for task in list(self._slots):
            if task in self._ended and not self._slots[task]:
                del self._slots[task]
                self._ended.discard(task)
            elif self._ordered:
                return


class Operator(ABC):
    """One step of a pipeline while it runs.

    Parameters: `name` is what a person calls it, `ports` how many inputs it has, `cpus` what one of its tasks takes,
    `most` how many may run at once (None: any number), `ordered` whether blocks leave in the order of tasks.
    """

    def __init__(
        self, name: str, ports: int = 1, *, cpus: float = 1.0, most: int | None = None, ordered: bool = True
    ) -> None:
        self.name = name
        self.cpus = cpus
        self.most = most
        self.queues: list[deque[Bundle]] = [deque() for _ in range(ports)]
        self.input_ended = [False] * ports
        self.running: dict[int, Running] = {}
        self.out = Output(ordered)
        self.stopped = False  # nobody wants more of it
        self.number = 0  # set by the machine: its place among the operators
        self.started = 0
        self.barrier = False  # whether it keeps all its input until the last block has come
        self.passes = False  # whether blocks go through it without a task
        self.makes = True  # whether its blocks are new, and take room that they did not take before
        self.pool: ActorPool | None = None
        self.needs: Mapping[
            str, float
        ] = {}  # what else than CPUs one of its tasks or actors takes, that is bounded
        self._todo: deque[Any] = deque()  # tasks that are known and not begun, of operators that plan ahead

    def accept(self, port: int, bundle: Bundle) -> None:
        """Take a block in."""
        self.queues[port].append(bundle)

    def end_input(self, port: int) -> None:
        """Note that a port gets no more."""
        self.input_ended[port] = True

    @abstractmethod
    def peek(self) -> bool:
        """Tell whether there is something to start now."""

    @abstractmethod
    def begin(self, task: int) -> Work:
        """Return what to start, and count it as running."""

    def produced(self, task: int, bundle: Bundle) -> None:
        """Take in a block that a task made."""
        self.running[task].blocks += 1
        self.out.add(task, bundle)

    def finished(self, task: int) -> None:
        """Note that a task has ended well."""
        del self.running[task]
        self.out.end(task)

    def advance(self) -> None:  # noqa: B027  most have nothing to do
        """Do what needs no task: move blocks on."""

    def complete(self) -> bool:
        """Tell whether no more blocks will come out, besides those that are there."""
        return self.stopped or (all(self.input_ended) and not any(self.queues) and not self.running)

    def stop(self) -> list[int]:
        """Drop what is there and return the tasks that are to be cancelled."""
        self.stopped = True
        for queue in self.queues:
            queue.clear()
        self._todo.clear()
        self.out.clear()
        tasks = list(self.running)
        self.running.clear()
        return tasks

    def _begun(
        self, task: int, stage: Stage, bundles: tuple[Bundle, ...], argument: Any = None, parts: int = 0
    ) -> Work:
        work = Work(task, self.number, stage, bundles, self.started, argument, parts)
        self.started += 1
        self.running[task] = Running(work)
        return work


class Source(Operator):
    """Blocks that are there already."""

    def __init__(self, name: str, bundles: tuple[Bundle, ...]) -> None:
        super().__init__(name, 0, cpus=0.0)
        self.makes = False
        self._left = deque(bundles)

    def peek(self) -> bool:
        """Nothing is to be started."""
        return False

    def begin(self, task: int) -> Work:
        """Never called."""
        raise AssertionError("a source starts nothing")

    def advance(self) -> None:
        """Put the next block out, one at a time: blocks that exist already take no room by waiting here."""
        if self._left and not self.out.count:
            self.out.pass_on(self._left.popleft())

    def complete(self) -> bool:
        """Tell whether no more blocks will come out."""
        return self.stopped or not self._left


class MapOperator(Operator):
    """Runs a chain of transforms on blocks, `rows_at_least` rows to a task (None: one block)."""

    def __init__(
        self, name: str, rows_at_least: int | None = None, pool: ActorPool | None = None, **how: Any
    ) -> None:
        super().__init__(name, 1, **how)
        self.pool = pool
        self._least = rows_at_least or 0

    def peek(self) -> bool:
        """Tell whether there are rows enough for a task."""
        return self._how_many() > 0

    def begin(self, task: int) -> Work:
        """Return the next task."""
        bundles = tuple(self.queues[0].popleft() for _ in range(self._how_many()))
        self.out.open(task)
        actor = None if self.pool is None else self.pool.take(task)
        work = attrs.evolve(self._begun(task, Stage.MAP, bundles), actor=actor)
        self.running[task] = Running(work)
        return work

    def finished(self, task: int) -> None:
        """Note that a task has ended well."""
        super().finished(task)
        if self.pool is not None:
            self.pool.give_back(task)

    def _how_many(self) -> int:
        rows = 0
        for count, bundle in enumerate(self.queues[0], 1):
            rows += bundle.rows
            if rows >= self._least:
                return count
        return len(self.queues[0]) if self.input_ended[0] else 0


class LimitOperator(Operator):
    """Passes the first rows on. Blocks pass as they are; only the last one may have to be cut."""

    def __init__(self, name: str, rows: int) -> None:
        super().__init__(name, 1, cpus=0.0)
        self.passes = True
        self._left = rows

    def advance(self) -> None:
        """Pass whole blocks on."""
        queue = self.queues[0]
        while queue and self._left and queue[0].rows <= self._left:
            bundle = queue.popleft()
            self._left -= bundle.rows
            self.out.pass_on(bundle)
        if not self._left:
            queue.clear()

    def peek(self) -> bool:
        """Tell whether the next block has to be cut."""
        return bool(self.queues[0]) and 0 < self._left < self.queues[0][0].rows

    def begin(self, task: int) -> Work:
        """Return the task that cuts."""
        bundle = self.queues[0].popleft()
        rows, self._left = self._left, 0
        self.queues[0].clear()
        self.out.open(task)
        return self._begun(task, Stage.GATHER, (bundle,), ((0, rows),))

    @property
    def satisfied(self) -> bool:
        """Whether nothing more is needed."""
        return not self._left

    def complete(self) -> bool:
        """Tell whether no more blocks will come out."""
        return self.stopped or (not self.running and (self.satisfied or super().complete()))


class UnionOperator(Operator):
    """Passes the blocks of its ports on: of the first port all, then of the second; or as they come."""

    def __init__(self, name: str, ports: int, ordered: bool) -> None:
        super().__init__(name, ports, cpus=0.0)
        self.passes = True
        self._one_by_one = ordered

    def advance(self) -> None:
        """Pass blocks on."""
        for queue, ended in zip(self.queues, self.input_ended, strict=True):
            while queue:
                self.out.pass_on(queue.popleft())
            if self._one_by_one and not ended:
                return

    def peek(self) -> bool:
        """Nothing is to be started."""
        return False

    def begin(self, task: int) -> Work:
        """Never called."""
        raise AssertionError("a union starts nothing")
