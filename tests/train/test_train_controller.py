"""The controller's state machine: what it does is right whatever happens in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.train.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from shoal.train.controller.events import (
    Action,
    AskStacks,
    Begun,
    Commit,
    Deliver,
    Discard,
    End,
    Fail,
    Failed,
    Finished,
    Held,
    Hold,
    Joined,
    Leaving,
    Record,
    Reported,
    Room,
    Saved,
    Say,
    Stacks,
    Start,
    Succeed,
    Tick,
)
from shoal.train.controller.kept import Kept, KeptCheckpoints
from shoal.train.controller.machine import Controller
from shoal.train.controller.slow import Laggards
from shoal.train.errors import (
    PreemptionError,
    PreemptionInfo,
    TrainingHangError,
    UnequalReportsError,
    WorkerGroupError,
)


def controller(workers: Any = 2, **run: Any) -> Controller:
    made = Controller(ScalingConfig(num_workers=workers), RunConfig(**run))
    made.begin()
    made.handle(Begun(workers if isinstance(workers, int) else workers[1], 0.0))
    return made


def reported(machine: Controller, rank: int, saves: bool = False, **metrics: Any) -> list[Action]:
    return machine.handle(Reported(rank, metrics, saves, 1.0))


def kinds(actions: list[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


def test_a_report_counts_when_all_ranks_have_made_it() -> None:
    machine = controller()
    assert reported(machine, 0, loss=1.0) == []
    assert reported(machine, 0, loss=0.5) == []
    [record] = reported(machine, 1, loss=9.0)
    assert record == Record(0, [{"loss": 1.0}, {"loss": 9.0}], None)
    [record] = reported(machine, 1, loss=9.0)
    assert record == Record(1, [{"loss": 0.5}, {"loss": 9.0}], None)


def test_a_checkpoint_is_one_when_all_its_parts_are_there() -> None:
    machine = controller()
    reported(machine, 0, True, loss=1.0)
    assert kinds(reported(machine, 1, True)) == [Record]
    assert machine.handle(Saved(1, 0)) == []
    [commit] = machine.handle(Saved(0, 0))
    assert commit == Commit(Kept(0, "checkpoint_000000", {"loss": 1.0}))


def test_what_begins_anew_begins_from_the_last_whole_checkpoint_and_uses_no_number_twice() -> None:
    machine = controller(failure_config=FailureConfig(max_failures=1))
    for rank in (0, 1):
        reported(machine, rank, True)
    for rank in (0, 1):
        machine.handle(Saved(rank, 0))
    reported(machine, 0, True)  # of which rank 1 makes none
    actions = machine.handle(Failed({1: RuntimeError("x")}, "rank 1 died"))
    assert kinds(actions) == [End, Say, Start]
    assert actions[2] == Start(2, Kept(0, "checkpoint_000000", {}), 2)
    machine.handle(Begun(2, 0.0))
    last = machine.handle(Failed({1: RuntimeError("x")}, "rank 1 died"))
    assert kinds(last) == [End, Fail]
    assert isinstance(last[1].error, WorkerGroupError)  # type: ignore[union-attr]
    assert machine.handle(Tick(1e9)) == []


def test_ranks_that_report_unequally_are_told_at_once() -> None:
    machine = controller()
    machine.handle(Finished(0, None, 1.0))
    [end, fail] = reported(machine, 1)
    assert isinstance(end, End)
    assert isinstance(fail, Fail)
    assert isinstance(fail.error, UnequalReportsError)
    assert "rank 0 returned after 0 reports, rank 1 has made 1" in str(fail.error)


def test_what_says_nothing_for_long_is_asked_where_it_is() -> None:
    machine = controller(failure_config=FailureConfig(hang_timeout_s=10))
    assert machine.handle(Tick(9.0)) == []
    assert machine.handle(Tick(10.0)) == [AskStacks()]
    assert machine.handle(Tick(11.0)) == []
    stacks = {0: "distributed_c10d.py all_reduce", 1: "program.py line 3 sleep"}
    [end, fail] = machine.handle(Stacks(stacks))
    assert isinstance(end, End)
    assert isinstance(fail, Fail)
    assert isinstance(fail.error, TrainingHangError)
    assert "Ranks 0 wait in a collective operation for 1, which is elsewhere" in str(fail.error)


def test_a_metric_that_is_no_number() -> None:
    nan = float("nan")
    assert kinds(reported(controller(1), 0, loss=nan)) == [Record]
    stop = controller(1, failure_config=FailureConfig(on_nan="stop"))
    assert kinds(reported(stop, 0, loss=nan)) == [Record, Say, End, Succeed]
    fail = controller(1, failure_config=FailureConfig(on_nan="fail"))
    assert kinds(reported(fail, 0, loss=nan)) == [Record, End, Fail]


def test_stop_waits_for_the_checkpoint_of_its_report() -> None:
    machine = controller(1, stop={"accuracy": 0.9})
    assert kinds(reported(machine, 0, True, accuracy=0.95)) == [Record]
    assert kinds(machine.handle(Saved(0, 0))) == [Commit, Say, End, Succeed]
    machine = controller(1, stop={"training_iteration": 2})
    assert kinds(reported(machine, 0)) == [Record]
    assert kinds(reported(machine, 0)) == [Record, Say, End, Succeed]


def test_room_is_used_with_the_next_checkpoint() -> None:
    machine = controller((1, 3))
    machine.handle(Begun(1, 0.0))
    reported(machine, 0, True)
    assert machine.handle(Room(1)) == []
    assert machine.handle(Room(2)) == []
    actions = machine.handle(Saved(0, 0))
    assert kinds(actions) == [Commit, Say, End, Start]
    assert machine.failures == 0


def test_training_moves_with_the_next_checkpoint_or_when_time_is_over() -> None:
    info = PreemptionInfo(None, {"a" * 56: [1]})
    bounds = FailureConfig(preemption_grace_s=5.0, max_preemption_failures=2)
    machine = controller(1, failure_config=bounds)
    machine.handle(Begun(1, 0.0))
    assert kinds(machine.handle(Leaving(info, 1.0))) == [Say]
    assert machine.handle(Leaving(info, 2.0)) == []
    assert machine.handle(Tick(5.9)) == []
    reported(machine, 0, True)
    assert kinds(machine.handle(Saved(0, 0))) == [Commit, End, Say, Start]
    machine.handle(Begun(1, 6.0))
    machine.handle(Leaving(info, 6.0))
    assert kinds(machine.handle(Tick(11.0))) == [End, Say, Start]
    assert (machine.failures, machine.announced) == (0, 2)
    machine.handle(Begun(1, 12.0))
    machine.handle(Leaving(info, 12.0))
    [_, fail] = machine.handle(Tick(17.0))
    assert isinstance(fail, Fail)
    assert isinstance(fail.error, PreemptionError)
    assert fail.error.drain_timed_out
    assert fail.error.preemption_info.preempted_ranks == [1]


def test_all_ranks_meet() -> None:
    machine = controller(3)
    assert machine.handle(Joined(2, 0, None)) == []
    assert machine.handle(Joined(1, 0, None)) == []
    assert machine.handle(Joined(0, 0, "said")) == [Deliver(0, "said")]


def test_the_best_are_kept_and_the_newest() -> None:
    book = KeptCheckpoints(2, "accuracy", "max")
    gone = [
        book.add(Kept(index, str(index), {"accuracy": value}))
        for index, value in enumerate([0.9, 0.5, 0.7, 0.1])
    ]
    assert [[each.index for each in step] for step in gone] == [[], [], [1], []]
    assert [each.index for each in book.all] == [0, 2, 3]
    assert book.best is not None
    assert book.best.index == 0
    newest = KeptCheckpoints(1, None, "max")
    newest.add(Kept(0, "a", {}))
    assert [each.index for each in newest.add(Kept(1, "b", {}))] == [0]


def test_a_rank_that_is_last_again_and_again_is_named() -> None:
    laggards = Laggards()
    said = [
        laggards.note(rank, index, 10.0 * index + (4.0 if rank == 1 else 0.0), 2)
        for index in range(10)
        for rank in (0, 1)
    ]
    assert "rank 1 is slow: in 10 of 10 reports it came last, 4.0 s after the first" in said[-1]
    assert not any(said[:-1])


class Runs(RuleBasedStateMachine):
    """Ranks that report, save, finish and die as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 3
        run = RunConfig(
            failure_config=FailureConfig(max_failures=2), checkpoint_config=CheckpointConfig(num_to_keep=2)
        )
        self.machine = Controller(ScalingConfig(num_workers=self.size), run)
        self.committed: list[Kept] = []
        self.discarded: list[Kept] = []
        self.held: list[Kept] = []  # in memory
        self.records: list[int] = []
        self.over: list[Action] = []
        self.group: list[int] | None = None  # how often each rank has reported
        self.unsaved: list[tuple[int, int, Any]] = []
        self.done: set[int] = set()
        self.first = 0
        self.starts = 0
        self.apply(self.machine.begin())

    def apply(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.over, f"{action} after the end"
            match action:
                case Start():
                    assert self.group is None
                    # What is in the storage counts before the same in memory.
                    known = [*self.held, *self.committed]
                    newest = max(known, key=lambda kept: (kept.index, not kept.parts), default=None)
                    assert action.checkpoint == newest
                    assert action.first_index > max([-1, *self.records])
                    self.first, self.starts = action.first_index, self.starts + 1
                case End():
                    assert self.group is not None
                    self.group = None
                case Record():
                    assert action.index not in self.records
                    assert len(action.metrics) == self.size
                    self.records.append(action.index)
                case Commit():
                    assert action.kept.index in self.records
                    self.committed.append(action.kept)
                case Hold():
                    assert action.kept.index in self.records
                    assert action.kept.parts
                    assert all(action.kept.index > kept.index for kept in self.held)
                    self.held.append(action.kept)
                case Discard():
                    assert action.kept in self.committed
                    assert action.kept.index < max(kept.index for kept in self.committed)
                    self.discarded.append(action.kept)
                case Succeed() | Fail():
                    self.over.append(action)

    @precondition(lambda self: self.group is None and not self.over)
    @rule()
    def begin(self) -> None:
        self.group, self.unsaved, self.done = [0] * self.size, [], set()
        self.apply(self.machine.handle(Begun(self.size, 0.0)))

    @precondition(lambda self: self.group is not None)
    @rule(rank=st.integers(0, 2), saves=st.booleans(), holds=st.booleans())
    def report(self, rank: int, saves: bool, holds: bool) -> None:
        if self.group is None or rank in self.done:
            return
        index = self.group[rank]
        self.group[rank] += 1
        if saves:
            self.unsaved.append((rank, index, Saved))
        if holds:
            self.unsaved.append((rank, index, Held))
        self.apply(self.machine.handle(Reported(rank, {"x": index}, saves, 0.0, holds=holds)))

    @precondition(lambda self: self.group is not None and self.unsaved)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        rank, index, done = self.unsaved.pop(data.draw(st.integers(0, len(self.unsaved) - 1)))
        self.apply(self.machine.handle(done(rank, index)))

    @precondition(lambda self: self.group is not None)
    @rule(rank=st.integers(0, 2))
    def finish(self, rank: int) -> None:
        if self.group is None or rank in self.done or any(who == rank for who, *_ in self.unsaved):
            return
        self.done.add(rank)
        self.apply(self.machine.handle(Finished(rank, rank, 0.0)))

    @rule(rank=st.integers(0, 2))
    def fail(self, rank: int) -> None:
        self.apply(self.machine.handle(Failed({rank: RuntimeError("x")}, "it died")))

    @invariant()
    def kept_is_what_was_committed_and_not_discarded(self) -> None:
        left = [kept for kept in self.committed if kept not in self.discarded]
        assert self.machine.kept.all == sorted(left, key=lambda kept: kept.index)
        assert len(left) <= 3

    @invariant()
    def it_begins_at_most_three_times(self) -> None:
        assert self.starts <= 3


Runs.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRuns = Runs.TestCase
