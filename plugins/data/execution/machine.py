"""The streaming executor's decisions: events in, actions out. No session, clock, thread or randomness in here.

Blocks flow as far as they can while tasks run. What keeps a fast operator from flooding a slow one is a budget of
bytes: all blocks that are made and not yet used, and what running tasks are expected to make next, count. Over the
budget an operator goes on only if what comes after it would otherwise have nothing to do, so there is always progress,
and what is held over the budget is at most what one task for each operator has under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from shoal.data.execution.barriers import ZipOperator
from shoal.data.execution.bundle import Bundle
from shoal.data.execution.operators import LimitOperator, Operator, Running
from shoal.data.execution.pool import ActorPool
from shoal.data.execution.work import Action, Cancel, Pull, Start, StartActor, StopActor
from shoal.data.mixing import MixOperator

PATIENCE = 32  # decisions that an actor is idle for before it may be ended; each follows an event
_RESERVED = (
    0.5  # of the budget, that operators have each a part of for themselves; who needs more shares the rest
)
WINDOW = 2  # blocks that a task may make before they are asked for


class Machine:
    """Decides for one execution of a pipeline.

    Parameters: `operators` stand in an order in which each comes after its inputs; the last one's blocks are the
    result. `consumers[i]` is the (operator, port) that takes what operator i makes, None for the last. `cpus` is what
    running tasks may take together, `budget` how many bytes of blocks may wait (each operator has a part of it for
    itself), `guess` the bytes that a block is taken for before one was seen. `bounds` are those of what operators need
    besides CPUs, by name.

    It is for one thread. After an event, `decide` returns what to do.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        consumers: Sequence[tuple[int, int] | None],
        *,
        cpus: float,
        budget: float,
        guess: int,
        bounds: Mapping[str, float] | None = None,
    ) -> None:
        self.operators = list(operators)
        self.consumers = list(consumers)
        self.cpus = cpus
        self.budget = budget
        self.bounds = dict(bounds or {})
        self.error: BaseException | None = None
        self._guess = guess
        self._numbers = count()
        self._actor_numbers = count()
        self._of_task: dict[int, Operator] = {}
        self._ended = [False] * len(self.operators)
        self._seen = [(0, 0)] * len(self.operators)  # blocks, and bytes, that each has made
        for number, operator in enumerate(self.operators):
            operator.number = number
            inputs = [self.operators[each] for each in self._inputs(number)]
            if operator.passes and inputs and not any(each.makes for each in inputs):
                operator.makes = False  # blocks that were there before take no room by passing

    # Events

    def produced(self, task: int, bundle: Bundle) -> None:
        """Take in a block that a task made. Of a task that was cancelled it is dropped."""
        operator = self._of_task.get(task)
        if operator is not None:
            operator.running[task].asked = False
            operator.produced(task, bundle)
            blocks, size = self._seen[operator.number]
            self._seen[operator.number] = (blocks + 1, size + bundle.size)

    def finished(self, task: int) -> None:
        """Note that a task has ended well."""
        operator = self._of_task.pop(task, None)
        if operator is not None:
            operator.finished(task)

    def failed(self, task: int, error: BaseException) -> None:
        """Note that a task has failed for good: everything is to stop. Of a task that was cancelled nothing follows."""
        if task in self._of_task and self.error is None:
            self.error = error

    def take(self) -> Bundle | None:
        """Return the next block of the result; None if there is none yet. `done` tells whether there will be one."""
        return self.operators[-1].out.pop()

    # State

    @property
    def done(self) -> bool:
        """Whether every block of the result has been taken, or everything stopped."""
        return self._ended[-1] and not self.operators[-1].out.count

    def tasks_running(self) -> int:
        """Return how many tasks have been started and have not ended."""
        return len(self._of_task)

    def waiting(self) -> int:
        """Return how many bytes of blocks were made and are not used yet."""
        return sum(self._held(operator) for operator in self.operators if operator.makes)

    # Decisions

    def decide(self) -> list[Action]:
        """Return what to do now. After an error, or when the result is complete, that is to stop what runs."""
        actions: list[Action] = []
        if self.error is None:
            actions += self._settle()
        if self.error is not None:
            return actions + self.stop()
        actions += self._actors()
        actions += self._starts()
        actions += self._pulls()
        return actions

    def stop(self) -> list[Action]:
        """Stop everything, as when nobody wants the rest; return what to do."""
        return self._stop(list(range(len(self.operators))))

    def _settle(self) -> list[Action]:
        """Move blocks and ends on until nothing moves any more."""
        actions: list[Action] = []
        for operator in self.operators:
            if self._ended[operator.number]:
                continue
            operator.advance()
            if isinstance(operator, (LimitOperator, MixOperator)) and operator.satisfied:
                actions += self._stop(self._before(operator.number))
            if isinstance(operator, ZipOperator) and operator.error is not None:
                self.error = operator.error
                return actions
            consumer = self.consumers[operator.number]
            if consumer is not None:
                number, port = consumer
                while (bundle := operator.out.pop()) is not None:
                    self.operators[number].accept(port, bundle)
                    operator.advance()  # sources give one after the other
            if operator.complete() and (consumer is None or not operator.out.count):
                actions += self._end(operator)
        return actions

    def _end(self, operator: Operator) -> list[Action]:
        self._ended[operator.number] = True
        consumer = self.consumers[operator.number]
        if consumer is not None:
            self.operators[consumer[0]].end_input(consumer[1])
        return self._stop_actors(operator)

    def _stop_actors(self, operator: Operator) -> list[Action]:
        if operator.pool is None:
            return []
        actors = list(operator.pool.actors)
        operator.pool.actors.clear()
        return [StopActor(operator.number, actor) for actor in actors]

    def _stop(self, numbers: Sequence[int]) -> list[Action]:
        actions: list[Action] = []
        for number in numbers:
            operator = self.operators[number]
            if self._ended[number] and not operator.out.count:
                continue
            for task in operator.stop():
                del self._of_task[task]
                actions.append(Cancel(task))
            actions += self._end(operator)
        return actions

    def _before(self, number: int) -> list[int]:
        """The operators whose blocks come to this one."""
        found = self._inputs(number)
        return [further for each in found for further in self._before(each)] + found

    def _inputs(self, number: int) -> list[int]:
        return [each for each, consumer in enumerate(self.consumers) if consumer and consumer[0] == number]

    def _actors(self) -> list[Action]:
        actions: list[Action] = []
        for operator in self.operators:
            pool = operator.pool
            if pool is None or self._ended[operator.number]:
                continue
            actions += self._dismissed(operator, pool)
            while pool.begun < pool.first or (
                len(pool.actors) < pool.most
                and operator.peek()
                and not pool.free()
                and self._within_bounds(operator)
                and self._cpus_of_actors() + pool.cpus + self._cpus_for_tasks() <= self.cpus
            ):
                actor = next(self._actor_numbers)
                pool.add(actor)
                actions.append(StartActor(operator.number, actor))
        return actions

    def _dismissed(self, operator: Operator, pool: ActorPool) -> list[Action]:
        """End actors that have nothing to do: at once when no more input comes, else when that has lasted a while."""
        if operator.peek() or not pool.idle():
            pool.idled = 0
            return []
        pool.idled += 1
        actions: list[Action] = []
        while (
            len(pool.actors) > pool.least
            and pool.idle()
            and (all(operator.input_ended) or pool.idled >= PATIENCE)
        ):
            actions.append(StopActor(operator.number, pool.remove_idle()))
            pool.idled = 0
        return actions

    def _starts(self) -> list[Action]:
        actions: list[Action] = []
        for operator in reversed(self.operators):
            while operator.peek() and self._may_start(operator):
                task = next(self._numbers)
                self._of_task[task] = operator
                actions.append(Start(operator.begin(task)))
        return actions

    def _may_start(self, operator: Operator) -> bool:
        if operator.most is not None and len(operator.running) >= operator.most:
            return False
        if operator.pool is not None:
            if not operator.pool.free():
                return False
        elif (self._of_task and self._cpus_taken() + operator.cpus > self.cpus) or not self._within_bounds(
            operator
        ):
            return False
        if self._feeds_barrier(operator) or operator.barrier:
            return True
        if self._fits(operator, self._expected(operator)):
            return True
        return not operator.running and self._starved(operator)

    def _pulls(self) -> list[Action]:
        chosen: list[int] = []
        paused: list[tuple[Operator, Running]] = []
        for operator in reversed(self.operators):
            for task, running in operator.running.items():
                if running.work.parts or running.asked:
                    continue
                if self._may_go_on(operator, task):
                    running.asked = True
                    chosen.append(task)
                else:
                    paused.append((operator, running))
        if not chosen and paused and not self._active() and not self.operators[-1].out.waiting():
            # Paused tasks keep the CPUs that what comes after them waits for: let the last of them go on.
            first = next((pair for pair in paused if pair[0].out.is_head(pair[1].work.task)), paused[0])
            first[1].asked = True
            chosen.append(first[1].work.task)
        return [Pull(task) for task in chosen]

    def _may_go_on(self, operator: Operator, task: int) -> bool:
        if self._feeds_barrier(operator) or self._fits(operator, 0):
            return True
        return operator.out.is_head(task) and self._starved(operator)

    def _active(self) -> bool:
        """Whether a task runs that will say something by itself."""
        return any(
            running.asked or running.work.parts
            for operator in self.operators
            for running in operator.running.values()
        )

    def _feeds_barrier(self, operator: Operator) -> bool:
        """What a barrier waits for cannot be held back; its blocks lie in the store, which spills."""
        consumer = self.consumers[operator.number]
        if consumer is None:
            return False
        after = self.operators[consumer[0]]
        return after.barrier or (after.passes and self._feeds_barrier(after))

    def _starved(self, operator: Operator) -> bool:
        """Whether what comes after an operator has nothing of it to work on."""
        if operator.out.waiting():
            return False
        consumer = self.consumers[operator.number]
        if consumer is None:
            return True
        after = self.operators[consumer[0]]
        return self._starved(after) if after.passes else not after.peek()

    def _held(self, operator: Operator) -> int:
        """The bytes that an operator made and nothing has used."""
        if self._feeds_barrier(operator):
            return 0
        consumer = self.consumers[operator.number]
        size = operator.out.size
        if consumer is not None:
            size += sum(bundle.size for bundle in self.operators[consumer[0]].queues[consumer[1]])
        return size

    def _expected(self, operator: Operator) -> float:
        """The bytes that one task is about to make."""
        if self._feeds_barrier(operator):
            return 0
        blocks, size = self._seen[operator.number]
        return WINDOW * (size / blocks if blocks else self._guess)

    def _fits(self, operator: Operator, more: float) -> bool:
        """Whether an operator may have so many bytes more: in its own part of the budget, or in what all share.

        Without parts of their own those at the end could find everything taken by those before them.
        """
        sharing = [
            each
            for each in self.operators
            if each.makes and (not self._ended[each.number] or self._held(each))
        ]
        own = self.budget * _RESERVED / max(1, len(sharing))
        beyond = {each.number: max(0.0, self._use(each) - own) for each in sharing}
        beyond[operator.number] = max(0.0, self._use(operator) + more - own)
        return not beyond[operator.number] or sum(beyond.values()) <= self.budget - own * len(sharing)

    def _use(self, operator: Operator) -> float:
        """The bytes that an operator made and nothing has used, and those that its tasks are about to make."""
        return self._held(operator) + len(operator.running) * self._expected(operator)

    def _within_bounds(self, operator: Operator) -> bool:
        """Whether one more task or actor keeps to what may be taken of what is bounded; one alone always may."""
        return all(
            not self._taken(name) or self._taken(name) + operator.needs.get(name, 0.0) <= most
            for name, most in self.bounds.items()
            if operator.needs.get(name)
        )

    def _taken(self, name: str) -> float:
        tasks = sum(each.needs.get(name, 0.0) for each in self._of_task.values() if each.pool is None)
        pools = (each for each in self.operators if each.pool)
        return tasks + sum(len(each.pool.actors) * each.needs.get(name, 0.0) for each in pools if each.pool)

    def _cpus_taken(self) -> float:
        return self._cpus_of_tasks() + self._cpus_of_actors()

    def _cpus_of_tasks(self) -> float:
        return sum(operator.cpus for operator in self._of_task.values() if operator.pool is None)

    def _cpus_of_actors(self) -> float:
        return sum(
            len(operator.pool.actors) * operator.pool.cpus for operator in self.operators if operator.pool
        )

    def _cpus_for_tasks(self) -> float:
        """What a pool that grows must leave: actors keep their CPUs, and tasks that do not fit wait for ever."""
        needed = (
            operator.cpus
            for operator in self.operators
            if operator.pool is None and not self._ended[operator.number]
        )
        return max(self._cpus_of_tasks(), max(needed, default=0.0))
