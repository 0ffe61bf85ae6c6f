"""The shell around the machine: it submits tasks, waits for what they say, and hands the machine's blocks out."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

import shoal
from shoal.data.compute import options_now
from shoal.data.context import DataContext
from shoal.data.exceptions import ExecutionTimeoutError
from shoal.data.execution import worker
from shoal.data.execution.build import Pipeline, build
from shoal.data.execution.bundle import BlockFacts, Bundle
from shoal.data.execution.machine import WINDOW, Machine
from shoal.data.execution.operators import Source
from shoal.data.execution.progress import bars_of
from shoal.data.execution.reporting import Reporter
from shoal.data.execution.stats import ExecutionStats, OperatorStats
from shoal.data.execution.work import Action, Cancel, Pull, Stage, Start, StartActor, StopActor, Work
from shoal.data.plan.logical import Node
from shoal.data.plan.rules import optimise
from shoal.data.sinks.step import WriteBlocks
from shoal.errors import TaskError
from shoal.interfaces.current import current

logger = logging.getLogger(__name__)

_SHARE_OF_STORE = 0.25  # of the object store that one execution's waiting blocks may take
_LEAST_BLOCK = 2**20  # bytes; a small store does not make blocks smaller than this
_PATIENCE = 10.0  # seconds after which a waiting execution looks whether the session is still there
_FACTS_TIMEOUT = 300.0  # seconds that fetching a few bytes may take

_STREAMING = {"num_returns": "streaming", "_generator_backpressure_num_objects": 2 * WINDOW}


@attrs.define(eq=False)
class _Task:
    """A task that was submitted. `block` is the block whose facts have not come."""

    work: Work
    stream: Any = None
    parts: tuple[Any, ...] = ()
    block: Any = None


class Execution:
    """One run of a plan. Iterate over it for its blocks; tasks run ahead as far as the budget allows.

    It is for one thread at a time. `close` stops what runs; it is called at the end of the iteration, however it ends.
    """

    def __init__(self, plan: Node, context: DataContext) -> None:
        if not shoal.is_initialized():
            shoal.init()
        have = shoal.cluster_resources()
        context.execution_options.validate()
        limits = context.execution_options.resource_limits
        excluded = context.execution_options.exclude_resources
        cpus = have.get("CPU", 1.0) - (excluded.cpu or 0.0)
        self._cpus = max(1.0, min(cpus, limits.cpu or float("inf")))
        budget = limits.object_store_memory
        store = have.get("object_store_memory", 2**31)
        if budget is None:
            budget = max(0.0, store * _SHARE_OF_STORE - (excluded.object_store_memory or 0.0))
        bounds = {
            "gpu": (limits.gpu, have.get("GPU", 0.0), excluded.gpu),
            "memory": (limits.memory, have.get("memory", 0.0), excluded.memory),
        }
        self._context = context
        # Blocks are smaller where the store is: what tasks work on and make at a time must find room in it.
        self._target = int(max(_LEAST_BLOCK, min(context.target_max_block_size, budget / (2 * self._cpus))))
        self._target = min(self._target, context.target_max_block_size)
        chunk = int(max(_LEAST_BLOCK, min(context.target_max_block_size, store / (3 * self._cpus))))
        self._pipeline: Pipeline = build(
            optimise(plan, context.max_errored_blocks != 0), context, self._cpus, self._target, chunk
        )
        self._leave_room()
        self._machine = Machine(
            self._pipeline.operators,
            self._pipeline.consumers,
            cpus=self._cpus,
            budget=budget,
            guess=min(self._target, int(budget) // 8),
            bounds={
                name: max(0.0, there - (left or 0.0)) if most is None else most
                for name, (most, there, left) in bounds.items()
                if most is not None or left
            },
        )
        self._tasks: dict[int, _Task] = {}
        self._actors: dict[int, Any] = {}
        self._chains: dict[int, Any] = {}
        self._reads: dict[tuple[int, int], Any] = {}
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        engine = current.engine
        # Where work runs in this process it runs in this thread, so that a debugger and its order are the user's.
        self._in_this_thread = engine is None or "processes" not in engine.capabilities
        self._begun = time.monotonic()
        self.stats = ExecutionStats([OperatorStats(each.name) for each in self._pipeline.operators])
        self._closed = False
        shown = context.enable_progress_bars
        made_here = zip(self._pipeline.operators, self.stats.operators, strict=True)
        self._bars = bars_of(
            [stats for operator, stats in made_here if not isinstance(operator, Source)],
            shown,
            context.execution_options.verbose_progress,
        )
        self._handed_out = 0  # rows
        self._reporter = Reporter(" → ".join(each.name for each in self._pipeline.operators)[:200])

    def __iter__(self) -> Iterator[Bundle]:
        try:
            while True:
                self._do(self._machine.decide())
                if self._machine.error is not None:
                    raise self._machine.error
                bundle = self._machine.take()
                if bundle is not None:
                    self._handed_out += bundle.rows
                    yield bundle
                elif self._machine.done:
                    return
                else:
                    begun = time.monotonic()
                    self._wait()
                    self.stats.waited += time.monotonic() - begun
        finally:
            self.close()

    def at_hand(self) -> int:
        """Let what can go on go on; return how many blocks the iteration gives next without waiting."""
        self._do(self._machine.decide())
        return self._machine.operators[-1].out.count

    def close(self) -> None:
        """Stop everything that runs. Again does nothing."""
        if self._closed:
            return
        self._closed = True
        self.stats.seconds = time.monotonic() - self._begun
        if self._bars is not None:
            self._bars.close()
        if shoal.is_initialized():
            self._do(self._machine.stop())
            self._reporter.ended(self.stats, self._machine.error)
        self._tasks.clear()
        self._chains.clear()
        self._reads.clear()

    def _leave_room(self) -> None:
        """Let tasks whose CPUs nobody asked for run beside actors that take all there are."""
        pools = [each.pool for each in self._pipeline.operators if each.pool is not None]
        if not pools or self._cpus - sum(pool.first * pool.cpus for pool in pools) >= 1:
            return
        for number, operator in enumerate(self._pipeline.operators):
            if operator.pool is None and operator.cpus == 1:
                operator.cpus = 0.0
                operator.most = operator.most or 1
                recipe = self._pipeline.recipes[number]
                self._pipeline.recipes[number] = attrs.evolve(
                    recipe, options={**recipe.options, "num_cpus": 0}
                )

    # What the machine decided

    def _do(self, actions: list[Action]) -> None:
        waiting = self._machine.waiting()
        self.stats.peak = max(self.stats.peak, waiting)
        self._reporter.running(self.stats, waiting, len(self._tasks))
        if self._bars is not None:
            self._bars.show(self._handed_out)
        for action in actions:
            if isinstance(action, Start):
                self._start(action.work)
            elif isinstance(action, Pull):
                self._ask(action.task)
            elif isinstance(action, Cancel):
                self._cancel(action.task)
            elif isinstance(action, StartActor):
                self._start_actor(action)
            elif isinstance(action, StopActor):
                shoal.kill(self._actors.pop(action.actor))

    def _start(self, work: Work) -> None:
        stats = self.stats.operators[work.operator]
        stats.tasks += 1
        if stats.began is None:
            stats.began = time.monotonic() - self._begun
        task = _Task(work)
        self._submit(task)
        self._tasks[work.task] = task

    def _submit(self, task: _Task) -> None:
        work = task.work
        refs = [bundle.ref for bundle in work.bundles]
        target = self._target
        if work.actor is not None:
            task.stream = self._actors[work.actor].run.options(**_STREAMING).remote(work.index, *refs)
        elif work.stage is Stage.MAP:
            task.stream = self._streaming(
                worker.run_map, work, self._chain(work.operator), target, work.index, *refs
            )
        elif work.stage is Stage.GATHER:
            task.stream = self._streaming(worker.run_gather, work, work.argument, *refs)
        elif work.stage is Stage.ZIP:
            task.stream = self._streaming(worker.run_zip, work, work.argument, *refs)
        elif work.stage is Stage.REDUCE:
            exchange, (lengths, limit) = self._chain(work.operator), work.argument
            if limit is None:
                task.stream = self._streaming(
                    worker.run_reduce, work, exchange, target, work.index, lengths, *refs
                )
            else:  # references in a list: the task fetches one part after the other
                task.stream = self._streaming(
                    worker.run_reduce_large, work, exchange, target, work.index, lengths, limit, refs
                )
        else:
            self._start_parts(task, refs)

    def _start_parts(self, task: _Task, refs: list[Any]) -> None:
        work = task.work
        exchange = self._chain(work.operator)
        function: Callable[..., Any]
        arguments: tuple[Any, ...]
        if work.stage is Stage.SAMPLE:
            function, arguments = worker.run_sample, (exchange, self._read(work.operator, 0), *refs)
        elif work.stage is Stage.PLAN:
            function, arguments = worker.run_plan, (exchange, work.argument, *refs)
        else:
            partitions, side, planned = work.argument
            blocks = refs if planned else [None, *refs]
            read = self._read(work.operator, side)
            function, arguments = worker.run_split, (exchange, partitions, side, work.index, read, *blocks)
        options = {
            **options_now(self._pipeline.recipes[work.operator].options),
            "num_returns": work.parts + 1,
        }
        task.parts = tuple(shoal.remote(**options)(function).remote(*arguments))
        number = work.task
        if self._in_this_thread:
            self._events.put(lambda: self._parts_are_there(number))
        else:
            future = task.parts[-1].future()
            future.add_done_callback(lambda _: self._events.put(lambda: self._parts_are_there(number)))

    def _streaming(self, function: Callable[..., Any], work: Work, *arguments: Any) -> Any:
        options = {**options_now(self._pipeline.recipes[work.operator].options), **_STREAMING}
        return shoal.remote(**options)(function).remote(*arguments)

    def _chain(self, operator: int) -> Any:
        """The reference to what all tasks of an operator need: it travels once to each node."""
        if operator not in self._chains:
            recipe = self._pipeline.recipes[operator]
            self._chains[operator] = shoal.put(recipe.exchange or recipe.chain)
        return self._chains[operator]

    def _read(self, operator: int, side: int) -> Any:
        """The reference to what tasks that split an input read; None if they are given blocks."""
        reads = self._pipeline.recipes[operator].reads
        if not reads or reads[side] is None:
            return None
        if (operator, side) not in self._reads:
            self._reads[operator, side] = shoal.put(reads[side])
        return self._reads[operator, side]

    def _start_actor(self, action: StartActor) -> None:
        recipe = self._pipeline.recipes[action.operator]
        options = {
            name: value
            for name, value in options_now(recipe.options).items()
            if name not in ("max_retries", "retry_exceptions", "max_calls")
        }
        actor = shoal.remote(**{"max_restarts": -1, "max_task_retries": -1, **options})(worker.MapActor)
        chain = self._chain(action.operator)
        self._actors[action.actor] = actor.remote(chain, self._target)

    def _cancel(self, number: int) -> None:
        task = self._tasks.pop(number, None)
        if task is None or task.work.actor is not None:  # an actor is ended as a whole
            return
        shoal.cancel(task.stream if task.stream is not None else task.parts[0])

    # What tasks say

    def _ask(self, number: int) -> None:
        stream = self._tasks[number].stream
        if self._in_this_thread:
            self._events.put(lambda: self._step(number, stream))
        else:
            self._ask_for_item(number, stream)

    def _ask_for_item(self, number: int, stream: Any) -> None:
        future = stream.engine.stream_next_future(stream)
        future.add_done_callback(lambda done: self._events.put(lambda: self._item(number, stream, done)))

    def _item(self, number: int, stream: Any, done: Any) -> None:
        if number not in self._tasks:
            return
        error = done.exception()
        if error is not None:
            self._fail(number, error)
        elif self._take(number, done.result()):
            self._ask_for_item(number, stream)

    def _step(self, number: int, stream: Any) -> None:
        while number in self._tasks and self._take(number, next(stream, None)):
            continue

    def _take(self, number: int, ref: Any) -> bool:
        """Take the next item of a task's stream, None at its end; tell whether another one is needed now."""
        task = self._tasks[number]
        try:
            if ref is not None and task.block is None:
                task.block = ref
                return True
            if ref is not None:
                facts = shoal.get(ref, timeout=_FACTS_TIMEOUT)
                block, task.block = task.block, None
                self._produced(task, block, facts)
            elif task.block is not None:  # the last item of a generator that raised
                shoal.get(task.block, timeout=_FACTS_TIMEOUT)
            else:
                del self._tasks[number]
                self._machine.finished(number)
        except Exception as error:
            self._fail(number, error)
        return False

    def _parts_are_there(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is None:
            return
        try:
            all_facts = shoal.get(task.parts[-1], timeout=_FACTS_TIMEOUT)
        except Exception as error:
            self._fail(number, error)
            return
        for ref, facts in zip(task.parts, all_facts, strict=False):
            self._produced(task, ref, facts)
        del self._tasks[number]
        self._machine.finished(number)

    def _produced(self, task: _Task, ref: Any, facts: BlockFacts) -> None:
        stats = self.stats.operators[task.work.operator]
        stats.ended = time.monotonic() - self._begun
        stats.seconds += facts.seconds
        if not task.work.parts:  # what a stage makes for the next one is no result
            stats.blocks += 1
            stats.rows += facts.rows
            stats.size += facts.size
        self._machine.produced(task.work.task, Bundle(ref, facts.rows, facts.size, facts.schema, facts.node))

    def _fail(self, number: int, error: BaseException) -> None:
        task = self._tasks.get(number)
        if task is not None and self._may_be_left_out(task.work, error):
            self.stats.left_out.append(self._told(task.work, error))
            logger.warning("left out: %s", self.stats.left_out[-1])
            self._machine.finished(number)
        else:
            self._machine.failed(number, error)
        self._tasks.pop(number, None)

    def _may_be_left_out(self, work: Work, error: BaseException) -> bool:
        """Whether the context lets this task fail: what the program's code raised in a map, and nothing was written."""
        most = self._context.max_errored_blocks
        if work.stage is not Stage.MAP or not isinstance(error, TaskError):
            return False
        if most >= 0 and len(self.stats.left_out) >= most:
            return False
        return not any(isinstance(each, WriteBlocks) for each in self._pipeline.recipes[work.operator].chain)

    def _told(self, work: Work, error: BaseException) -> str:
        """Which rows a failed task was for, as far as that is known, and what was raised."""
        metadata = (getattr(bundle.ref, "metadata", None) for bundle in work.bundles)
        files = [path for each in metadata if each is not None for path in each.input_files or ()]
        what = ", ".join(files) or f"task {work.index + 1}"
        cause = getattr(error, "original", None) or error
        return f"{self._pipeline.operators[work.operator].name} of {what}: {type(cause).__name__}: {cause}"

    def _silent(self, seconds: float) -> str:
        running: dict[str, int] = {}
        for task in self._tasks.values():
            name = self._pipeline.operators[task.work.operator].name
            running[name] = running.get(name, 0) + 1
        what = (
            ", ".join(f"{count} of {name}" for name, count in running.items())
            or "none, resources are missing"
        )
        return (
            f"no task told anything for {seconds:.0f} s; submitted and not ended: {what}. See them with `shoal list "
            "tasks`; DataContext.execution_no_progress_timeout_s is how long to wait"
        )

    def _wait(self) -> None:
        """Wait for an event, and take all that are there."""
        begun, limit = time.monotonic(), self._context.execution_no_progress_timeout_s
        while True:
            waited = time.monotonic() - begun
            if limit is not None and waited >= limit:
                raise ExecutionTimeoutError(self._silent(waited))
            try:
                event = self._events.get(
                    timeout=_PATIENCE if limit is None else min(_PATIENCE, limit - waited)
                )
                break
            except queue.Empty:
                if not shoal.is_initialized():
                    raise RuntimeError(
                        "the session ended while a dataset was executed; call shoal.init() and execute it again"
                    ) from None
        while True:
            event()
            if self._in_this_thread:
                return
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return
