"""The controller: what a run does next. Events in, actions out; no clock, no processes, no files in here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shoal.data.positions import ReaderProgress, SplitProgress
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.controller.events import (
    Action,
    AskStacks,
    Begun,
    Commit,
    Deliver,
    Discard,
    End,
    Event,
    Fail,
    Failed,
    Finished,
    Held,
    Hold,
    Joined,
    Leaving,
    Record,
    Refused,
    Reported,
    Room,
    Saved,
    Say,
    Stacks,
    Start,
    Stop,
    Succeed,
    Tick,
)
from shoal.train.controller.kept import Kept, KeptCheckpoints
from shoal.train.controller.slow import Laggards
from shoal.train.errors import (
    ControllerError,
    PreemptionError,
    PreemptionInfo,
    TrainingHangError,
    UnequalReportsError,
    WorkerGroupError,
)
from shoal.train.memory import path_in_memory

NAME = "checkpoint_{:06d}"


@attrs.define(eq=False)
class _Round:
    """One report, while some ranks have not made it or its checkpoint is not whole."""

    metrics: dict[int, Mapping[str, Any]] = attrs.field(factory=dict)
    saves: set[int] = attrs.field(factory=set)
    saved: set[int] = attrs.field(factory=set)
    holds: set[int] = attrs.field(factory=set)  # ranks whose parts go to memory, and those that are there
    held: set[int] = attrs.field(factory=set)
    recorded: bool = False
    name: str | None = None
    path: str | None = None
    validation: Any = None
    progress: dict[int, Mapping[str, ReaderProgress]] = attrs.field(factory=dict)  # in the datasets, by rank
    data: Mapping[str, Any] | None = None  # where the datasets are, once all ranks have reported


@attrs.define(eq=False)
class _Group:
    """What is known of the workers that run now."""

    workers: int
    first_index: int
    active: float  # when something was reported or returned last
    data: dict[str, SplitProgress] = attrs.field(factory=dict)  # of the rounds that all ranks have made
    counts: list[int] = attrs.field(init=False)
    rounds: dict[int, _Round] = attrs.field(factory=dict)
    values: dict[int, Any] = attrs.field(factory=dict)
    joined: dict[int, dict[int, Any]] = attrs.field(factory=dict)
    asked: bool = False  # for the stacks
    leaving: Leaving | None = None  # what of its nodes will go, if training is to move away

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * self.workers


class Controller:
    """Leads one run. `handle` takes what happened and returns what to do, in order.

    A group's reports count from 0 in each attempt; over all attempts numbers are never used twice, so that what a
    failed attempt has left in the storage is never taken for a part of something.
    """

    def __init__(self, scaling: ScalingConfig, run: RunConfig, known: Sequence[Kept] = ()) -> None:
        self._scaling = scaling
        self._run = run
        self.kept = KeptCheckpoints(
            run.checkpoint_config.num_to_keep,
            run.checkpoint_config.checkpoint_score_attribute,
            run.checkpoint_config.checkpoint_score_order,
        )
        self.kept.all = sorted(known, key=lambda each: each.index)
        self.next_index = max((each.index + 1 for each in known), default=0)
        self.memory: Kept | None = None  # the newest that is whole in memory
        self.attempt = 0
        self.failures = 0
        self.announced = 0
        self.phase = "new"
        self._workers = 0  # of the newest group
        self._group: _Group | None = None
        self._grow = False  # when the next checkpoint is whole
        self._laggards = Laggards()
        self._reports = 0

    def begin(self) -> list[Action]:
        """Return what to do first."""
        return self._start()

    def handle(self, event: Event) -> list[Action]:
        """Return what to do now that this has happened. After the end nothing is done."""
        if self.phase == "over":
            return []
        match event:
            case Begun():
                data = {name: SplitProgress(start, event.workers) for name, start in event.positions.items()}
                self._group = _Group(event.workers, self.next_index, event.now, data)
                self._workers = event.workers
                self._laggards = Laggards()
                self.phase = "running"
                return []
            case Refused():
                return self._over(Fail(event.error))
            case Failed():
                return self._failed(event)
            case Stop():
                return [Say(event.why), *self._over(Succeed(self._value()))]
        if self._group is None or self.phase != "running":
            return []
        match event:
            case Reported():
                return self._reported(self._group, event)
            case Saved():
                self._group.rounds[event.index].saved.add(event.rank)
                return self._commit(self._group, event.index)
            case Held():
                self._group.rounds[event.index].held.add(event.rank)
                return self._commit(self._group, event.index)
            case Finished():
                return self._finished(self._group, event)
            case Joined():
                return self._joined(self._group, event)
            case Tick():
                return self._tick(self._group, event.now)
            case Leaving():
                return self._leaving(self._group, event)
            case Stacks():
                return self._hung(self._group, event.of)
            case Room():
                return self._room(self._group, event.workers)

    @property
    def newest(self) -> Kept | None:
        """The checkpoint to go on from: in memory, or in the storage if that one is newer."""
        stored = self.kept.newest
        if self.memory is None or (stored is not None and stored.index >= self.memory.index):
            return stored
        return self.memory

    def statistics(self) -> dict[str, int]:
        """Return how the run stands, in numbers."""
        return {
            "workers": self._workers,
            "checkpoints": len(self.kept.all),
            "attempts": self.attempt,
            "failures": self.failures,
        }

    def counts(self) -> list[int]:
        """Return how many reports each rank of the group has made."""
        return list(self._group.counts) if self._group is not None else []

    def lose_memory(self) -> Kept | None:
        """Know that what was in memory is gone; return what there is instead."""
        self.memory = None
        return self.kept.newest

    def _start(self) -> list[Action]:
        self.phase = "starting"
        self.attempt += 1
        return [Start(self.attempt, self.newest, self.next_index)]

    def _over(self, last: Action) -> list[Action]:
        graceful = isinstance(last, Succeed)
        running = self._group is not None
        self.phase, self._group = "over", None
        return [*([End(graceful)] if running else []), last]

    def _value(self) -> Any:
        return self._group.values.get(0) if self._group is not None else None

    # Reports

    def _reported(self, group: _Group, event: Reported) -> list[Action]:
        index = group.counts[event.rank]
        group.counts[event.rank] += 1
        group.active, group.asked = event.now, False
        self.next_index = max(self.next_index, group.first_index + index + 1)
        now = group.rounds.setdefault(index, _Round())
        now.metrics[event.rank] = event.metrics
        now.progress[event.rank] = event.data
        if event.saves:
            now.saves.add(event.rank)
            now.name, now.path = now.name or event.name, now.path or event.path
            now.validation = now.validation or event.validation
        if event.holds:
            now.holds.add(event.rank)
        actions: list[Action] = []
        if slow := self._laggards.note(event.rank, index, event.now, group.workers):
            actions.append(Say(slow))
        short = [rank for rank in group.values if group.counts[rank] <= index]
        if short:
            return [*actions, *self._unequal(group, short[0], event.rank)]
        if len(now.metrics) < group.workers:
            return actions
        now.recorded = True
        for rank, progress in sorted(now.progress.items()):
            for name, part in progress.items():
                group.data[name].add(rank, part)
        if (now.saves or now.holds) and group.data:
            now.data = {name: each.position().to_json() for name, each in group.data.items()}
        self._reports += 1
        metrics = [now.metrics[rank] for rank in range(group.workers)]
        number = group.first_index + index
        actions.append(Record(number, metrics, (now.name or NAME.format(number)) if now.saves else None))
        actions += self._commit(group, index)
        if self.phase == "running" and self._run.failure_config.on_nan != "ignore":
            actions += self._check_numbers(metrics, number)
        if self.phase == "running" and self._run.should_stop(metrics[0], self._reports):
            actions += self._stop_when_saved(group, index)
        return actions

    def _stop_when_saved(self, group: _Group, index: int) -> list[Action]:
        # A checkpoint of the last report is worth waiting for: `stop` is asked again when it is whole.
        if index in group.rounds:
            return []
        return [Say("stop= says that this is enough"), *self._over(Succeed(self._value()))]

    def _check_numbers(self, metrics: Sequence[Mapping[str, Any]], number: int) -> list[Action]:
        for rank, each in enumerate(metrics):
            for name, value in each.items():
                if isinstance(value, float) and not math.isfinite(value):
                    text = f"{name} of rank {rank} is {value} in report {number}"
                    if self._run.failure_config.on_nan == "stop":
                        return [
                            Say(f"{text}: training ends (on_nan='stop')"),
                            *self._over(Succeed(self._value())),
                        ]
                    return self._over(Fail(WorkerGroupError(text, {rank: FloatingPointError(text)})))
        return []

    def _commit(self, group: _Group, index: int) -> list[Action]:
        """Count a report as done with when all ranks made it and all parts of its checkpoint are there."""
        now = group.rounds[index]
        if not now.recorded:
            return []
        number = group.first_index + index
        kept = Kept(number, now.name or NAME.format(number), now.metrics[0], now.path, now.data)
        actions: list[Action] = []
        if now.holds and not now.holds - now.held and (self.memory is None or self.memory.index < number):
            self.memory = attrs.evolve(kept, path=path_in_memory(number), parts=tuple(sorted(now.holds)))
            actions.append(Hold(self.memory))
        if now.saves - now.saved or now.holds - now.held:
            return actions
        del group.rounds[index]
        if now.saves:
            gone = self.kept.add(kept)
            actions += [Commit(kept, now.validation), *(Discard(each) for each in gone)]
        elif not now.holds:
            return []
        if self._run.should_stop(now.metrics[0], self._reports):
            return [*actions, Say("stop= says that this is enough"), *self._over(Succeed(self._value()))]
        if group.leaving is not None:
            actions += self._move(group.leaving.info)
        elif self._grow:
            actions += self._restart("there is room for more workers")
        return actions

    # The end

    def _finished(self, group: _Group, event: Finished) -> list[Action]:
        group.values[event.rank] = event.value
        group.active, group.asked = event.now, False
        ahead = [rank for rank in range(group.workers) if group.counts[rank] > group.counts[event.rank]]
        if ahead:
            return self._unequal(group, event.rank, ahead[0])
        if len(group.values) < group.workers:
            return []
        if len(set(group.counts)) > 1:
            low = min(range(group.workers), key=group.counts.__getitem__)
            return self._unequal(group, low, max(range(group.workers), key=group.counts.__getitem__))
        return self._over(Succeed(self._value()))

    def _unequal(self, group: _Group, low: int, high: int) -> list[Action]:
        text = (
            f"rank {low} returned after {group.counts[low]} reports, rank {high} has made {group.counts[high]}: "
            "call train.report() on every rank, as often on each"
        )
        return self._over(Fail(UnequalReportsError(text, {low: RuntimeError(text)})))

    def _failed(self, event: Failed) -> list[Action]:
        ended: list[Action] = [End(False)] if self._group is not None else []
        self._group = None
        bounds = self._run.failure_config
        if event.announced and (
            bounds.max_preemption_failures == -1 or self.announced < bounds.max_preemption_failures
        ):
            self.announced += 1
        else:
            self.failures += 1
            if bounds.fail_fast or (bounds.max_failures != -1 and self.failures > bounds.max_failures):
                error = event.error or WorkerGroupError(event.message, event.failures)
                self.phase = "over"
                return [*ended, Fail(error)]
        newest = self.newest
        where = f"from {newest.name}" if newest else "from the beginning (there is no checkpoint yet)"
        of = "" if bounds.max_failures == -1 else f" of {bounds.max_failures}"
        which = "" if event.error is not None else f"failure {self.failures}{of}: "
        said = Say(f"{which}{event.message.splitlines()[0]}; training begins anew {where}")
        return [*ended, said, *self._start()]

    def _restart(self, why: str) -> list[Action]:
        self._grow, self._group = False, None
        newest = self.newest
        return [
            Say(f"{why}: training goes on from {newest.name if newest else 'its beginning'}"),
            End(True),
            *self._start(),
        ]

    # Watching

    def _tick(self, group: _Group, now: float) -> list[Action]:
        grace = self._run.failure_config.preemption_grace_s
        if group.leaving is not None and grace is not None and now - group.leaving.now >= grace:
            return self._move(group.leaving.info, late=True)
        bound = self._run.failure_config.hang_timeout_s
        if bound is None or group.asked or now - group.active < bound:
            return []
        group.asked = True
        return [AskStacks()]

    def _leaving(self, group: _Group, event: Leaving) -> list[Action]:
        grace = self._run.failure_config.preemption_grace_s
        if group.leaving is not None or grace is None or group.values:
            return []
        group.leaving = event
        nodes = ", ".join(node[:8] for node in event.info.preempted_node_ids)
        return [
            Say(
                f"nodes {nodes} with ranks {_list(event.info.preempted_ranks)} will go away: training moves with its "
                f"next checkpoint, in {grace:g} s at the latest"
            )
        ]

    def _move(self, info: PreemptionInfo, late: bool = False) -> list[Action]:
        error = PreemptionError(info, drain_timed_out=late)
        return self._failed(Failed({}, f"training moves: {error}", announced=True, error=error))

    def _hung(self, group: _Group, stacks: Mapping[int, str]) -> list[Action]:
        bound = self._run.failure_config.hang_timeout_s
        if not group.asked or bound is None:  # somebody has reported meanwhile
            return []
        text = describe_hang(group.counts, set(group.values), stacks, bound)
        stuck = [rank for rank in range(group.workers) if rank not in group.values]
        error = TrainingHangError(text, {rank: RuntimeError(stacks.get(rank, "")) for rank in stuck})
        self.failures += 1
        bounds = self._run.failure_config
        if bounds.fail_fast or (bounds.max_failures != -1 and self.failures > bounds.max_failures):
            self._group, self.phase = None, "over"
            return [End(False), Fail(error)]
        self._group = None
        return [Say(text), End(False), *self._start()]

    def _room(self, group: _Group, workers: int) -> list[Action]:
        if not self._scaling.elasticity_enabled or group.values:
            return []
        more = min(workers, self._scaling.max_workers) > group.workers
        if more and not self._grow and self._reports == 0 and self.newest is None:
            return self._restart("there is room for more workers")  # nothing is lost
        self._grow = more
        return []

    # Meeting

    def _joined(self, group: _Group, event: Joined) -> list[Action]:
        here = group.joined.setdefault(event.number, {})
        here[event.rank] = event.value
        if len(here) < group.workers:
            return []
        del group.joined[event.number]
        value = [here[rank] for rank in range(group.workers)] if event.gathers else here[0]
        return [Deliver(event.number, value)]

    def give_up(self, error: Exception) -> list[Action]:
        """End the run since whoever leads it cannot go on."""
        return self._over(Fail(ControllerError(error)))


_COLLECTIVE = (
    "torch/distributed/",
    "distributed_c10d",
    "barrier",
    "all_gather",
    "broadcast_from_rank_zero",
    "all_reduce",
)


def describe_hang(counts: Sequence[int], done: set[int], stacks: Mapping[int, str], bound: float) -> str:
    """Say who waits for whom: ranks in a collective operation wait for those that are not.

    Example: `describe_hang([3, 2], set(), {0: "…all_reduce", 1: "…sleep"}, 60.0)`
    """
    within = {rank for rank, text in stacks.items() if any(mark in text for mark in _COLLECTIVE)}
    missing = [rank for rank in range(len(counts)) if rank not in within and rank not in done]
    lines = [f"no rank has reported for {bound:g} s."]
    if within and missing:
        lines[0] += (
            f" Ranks {_list(within)} wait in a collective operation for {_list(missing)}, which is elsewhere:"
        )
    elif within and done:
        lines[0] += (
            f" Ranks {_list(within)} wait in a collective operation for {_list(done)}, which has returned."
        )
    for rank, count in enumerate(counts):
        state = "returned" if rank in done else "in a collective operation" if rank in within else "at"
        lines.append(f"rank {rank}, {count} reports, {state}:")
        if rank not in done:
            lines.append(stacks.get(rank, "  (it does not answer)").rstrip())
    return "\n".join(lines)


def _list(ranks: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(ranks)))
