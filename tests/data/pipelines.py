"""Random pipelines and a world that carries out what the machine decides, in any order: no session, no clock.

Blocks are tuples of whole numbers. What each stage does to them is defined twice: here, task by task, as workers do it,
and in `expected`, for all rows at once.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from shoal.data.execution.barriers import ExchangeOperator, RealignOperator, ZipOperator
from shoal.data.execution.bundle import Bundle
from shoal.data.execution.machine import Machine
from shoal.data.execution.operators import LimitOperator, MapOperator, Operator, Source, UnionOperator
from shoal.data.execution.pool import ActorPool
from shoal.data.execution.work import Action, Cancel, Pull, Stage, Start, StartActor, StopActor, Work

ROW = 8  # bytes
MAPS: dict[str, Callable[[int], list[int]]] = {
    "same": lambda row: [row],
    "some": lambda row: [row] if row % 3 else [],
    "twice": lambda row: [row, row],
}


@attrs.frozen
class Step:
    """One step of a pipeline: a kind and its parameter."""

    kind: str
    value: Any = None


@attrs.define(eq=False)
class Pipeline:
    """Operators, who takes what each makes, and the rows that must come out (with `exact`, in that order)."""

    operators: list[Operator] = attrs.field(factory=list)
    consumers: list[tuple[int, int] | None] = attrs.field(factory=list)
    rows: list[int] = attrs.field(factory=list)
    exact: bool = True
    limited: bool = False  # to any of the rows, where their order is free
    maps: dict[int, str] = attrs.field(factory=dict)

    def add(self, operator: Operator, inputs: Sequence[int]) -> int:
        self.operators.append(operator)
        self.consumers.append(None)
        number = len(self.operators) - 1
        for port, each in enumerate(inputs):
            self.consumers[each] = (number, port)
        return number


def bundle(rows: Sequence[int]) -> Bundle:
    return Bundle(tuple(rows), len(rows), ROW * len(rows))


def make_pipeline(sources: Sequence[Sequence[int]], steps: Sequence[Step], ordered: bool) -> Pipeline:
    """Build a pipeline of one or two sources, given as the lengths of their blocks, and steps after them."""
    made = Pipeline(exact=ordered)
    ends = []
    start = 0
    for lengths in sources:
        blocks = []
        for length in lengths:
            blocks.append(bundle(range(start, start + length)))
            start += length
        ends.append(made.add(Source("source", tuple(blocks)), []))
    made.rows = list(range(start))
    at = ends[0]
    if len(ends) > 1:
        at = made.add(UnionOperator("union", len(ends), ordered), ends)
    for step in steps:
        if step.kind in MAPS:
            operator: Operator = MapOperator(step.kind, step.value, cpus=1.0, ordered=ordered)
            made.rows = [new for row in made.rows for new in MAPS[step.kind](row)]
        elif step.kind == "pool":
            pool = ActorPool(min(2, step.value), step.value, 1.0, 2, least=1)
            operator = MapOperator("same", None, pool, cpus=0.0, ordered=ordered)
        elif step.kind == "limit":
            operator = LimitOperator("limit", step.value)
            made.limited = made.limited or not made.exact
            made.rows = made.rows if made.limited else made.rows[: step.value]
        elif step.kind == "exchange":
            count = step.value
            operator = ExchangeOperator(
                "exchange", True, lambda blocks, size, n=count: n, chunk=20 * ROW, ordered=ordered
            )
            made.rows = [row for p in range(count) for row in sorted(made.rows) if row % count == p]
        else:
            assert step.kind == "realign"
            pieces = step.value
            operator = RealignOperator(
                "realign", lambda rows, n=pieces: [k * rows // n for k in range(n)], ordered=ordered
            )
        at = made.add(operator, [at])
        made.maps[at] = step.kind if step.kind in MAPS else "same"
    return made


def make_zip(left: Sequence[int], right: Sequence[int]) -> Pipeline:
    """A pipeline that lays two sources side by side; rows of the result are those of the left one."""
    made = Pipeline()
    start = 0
    ends = []
    for lengths in (left, right):
        blocks = [bundle(range(100 * number, 100 * number + length)) for number, length in enumerate(lengths)]
        ends.append(made.add(Source("source", tuple(blocks)), []))
        start += sum(lengths)
    made.add(ZipOperator("zip"), ends)
    made.rows = [row for block in made.operators[0]._left for row in block.ref]  # type: ignore[attr-defined]
    return made


@attrs.define(eq=False)
class Job:
    """A task of the world: the blocks that it has still to give."""

    work: Work
    left: list[Bundle]
    asked: bool = False


@attrs.define(eq=False)
class World:
    """Carries out actions. `random` decides which task goes on, and into how many blocks a task cuts its rows."""

    machine: Machine
    pipeline: Pipeline
    random: random.Random
    jobs: dict[int, Job] = attrs.field(factory=dict)
    actors: dict[int, int] = attrs.field(factory=dict)  # to their operators
    largest: int = ROW  # block
    peak: int = 0
    most_jobs: int = 0
    taken: list[int] = attrs.field(factory=list)

    def do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Start):
                assert action.work.task not in self.jobs
                if action.work.actor is not None:
                    assert self.actors[action.work.actor] == action.work.operator
                self.jobs[action.work.task] = Job(action.work, self.result(action.work))
            elif isinstance(action, Pull):
                job = self.jobs[action.task]
                assert not job.asked, "asked twice for one block"
                job.asked = True
            elif isinstance(action, Cancel):
                del self.jobs[action.task]
            elif isinstance(action, StartActor):
                assert action.actor not in self.actors
                self.actors[action.actor] = action.operator
            else:
                assert isinstance(action, StopActor)
                del self.actors[action.actor]
        self.most_jobs = max(self.most_jobs, len(self.jobs))
        self.peak = max(self.peak, self.machine.waiting())
        self.check()

    def check(self) -> None:
        """What holds after every action."""
        cpus = sum(
            self.pipeline.operators[job.work.operator].cpus
            for job in self.jobs.values()
            if job.work.actor is None
        )
        # Actors keep their CPUs while they are idle: a task that does not fit beside them would wait for ever.
        assert cpus + len(self.actors) <= self.machine.cpus, "more CPUs than there are"
        for actor in self.actors:
            mine = [job for job in self.jobs.values() if job.work.actor == actor]
            assert len(mine) <= 2, "an actor has more than it may be sent ahead"
        assert self.machine.tasks_running() == len(self.jobs)

    def ready(self) -> list[int]:
        return [task for task, job in self.jobs.items() if job.asked or job.work.parts]

    def go_on(self, task: int) -> None:
        """Let a task give its next block, or end."""
        job = self.jobs[task]
        if job.left:
            job.asked = False
            made = job.left.pop(0)
            self.largest = max(self.largest, made.size)
            self.machine.produced(task, made)
        else:
            del self.jobs[task]
            self.machine.finished(task)

    def run(self, patience: float = 1.0) -> None:
        """Go on until the result is complete; `patience` is how readily the consumer takes what there is."""
        for _ in range(20_000):
            self.do(self.machine.decide())
            if self.machine.error is not None or self.machine.done:
                return
            ready = self.ready()
            takes = self.random.random() < patience or not ready
            block = self.machine.take() if takes else None
            if block is not None:
                self.taken += block.ref
            elif ready:
                self.go_on(self.random.choice(ready))
            else:
                assert self.machine.done, "nothing runs, nothing is there, and it is not complete"
        raise AssertionError("it does not come to an end")

    def result(self, work: Work) -> list[Bundle]:
        """What workers make of a task."""
        rows = [row for each in work.bundles for row in each.ref]
        count = work.argument
        if work.stage is Stage.SPLIT:
            count, side, planned = count
            rows = [row for each in work.bundles[planned:] for row in each.ref]
            assert side == 0
            return [bundle([row for row in rows if row % count == p]) for p in range(count)]
        if work.stage in (Stage.SAMPLE, Stage.PLAN):
            return [bundle(())]
        if work.stage in (Stage.GATHER, Stage.ZIP):
            if work.stage is Stage.ZIP:
                return [bundle(work.bundles[0].ref)]
            cut = [row for each, (a, b) in zip(work.bundles, count, strict=True) for row in each.ref[a:b]]
            return [bundle(cut)]
        if work.stage is Stage.REDUCE:
            return self.in_blocks(sorted(rows))
        kind = self.pipeline.maps[work.operator]
        return self.in_blocks([new for row in rows for new in MAPS[kind](row)])

    def in_blocks(self, rows: list[int]) -> list[Bundle]:
        pieces = self.random.randint(1, 3)
        edges = [len(rows) * number // pieces for number in range(pieces + 1)]
        return [bundle(rows[a:b]) for a, b in itertools.pairwise(edges)]
