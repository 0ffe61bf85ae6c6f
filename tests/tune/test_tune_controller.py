"""The controller's state machine: what it does is right whatever happens in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shoal import tune
from shoal.train.config import CheckpointConfig
from shoal.tune.controller.events import (
    Action,
    Answer,
    Discard,
    Failed,
    Halt,
    Kill,
    Left,
    Lost,
    Over,
    Record,
    Reported,
    Saved,
    Tick,
)
from shoal.tune.controller.machine import Controller, Setup
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers import FIFOScheduler, TrialScheduler
from shoal.tune.search.basic_variant import BasicVariantGenerator
from shoal.tune.stopper import DictStopper


def controller(samples: int = 3, scheduler: TrialScheduler | None = None, **setup: Any) -> Controller:
    source = BasicVariantGenerator(random_state=1)
    source.set_search_properties(None, None, {"a": tune.uniform(0, 1)}, num_samples=samples)
    return Controller(Setup(scheduler=scheduler or FIFOScheduler(), source=source, **setup))


def started(machine: Controller) -> Trial:
    trial = machine.next_trial()
    assert trial is not None
    machine.take()
    return trial


def reported(machine: Controller, trial: Trial, now: float = 1.0, **metrics: Any) -> list[Action]:
    checkpoint = metrics.pop("checkpoint", None)
    return machine.handle(Reported(trial.trial_id, metrics, now, 0.5, checkpoint))


def answer(actions: list[Action]) -> str:
    [found] = [action for action in actions if isinstance(action, Answer)]
    return found.decision


def test_trials_run_in_order_and_the_end_comes_when_all_have_left() -> None:
    machine = controller(2)
    first, second = started(machine), started(machine)
    assert machine.next_trial() is None
    assert answer(reported(machine, first, loss=1.0)) == "CONTINUE"
    assert first.last_result["training_iteration"] == 1
    assert answer(reported(machine, first, loss=0.5)) == "CONTINUE"
    assert first.last_result["time_total_s"] == 1.0
    machine.handle(Left(first.trial_id))
    assert first.status == "TERMINATED"
    assert first.last_result["done"]
    assert not machine.finished
    machine.handle(Left(second.trial_id))
    assert machine.finished


def test_a_trial_that_fails_begins_again_as_often_as_allowed() -> None:
    machine = controller(1, max_failures=1)
    trial = started(machine)
    machine.handle(Failed(trial.trial_id, ValueError("no"), "ValueError: no"))
    assert trial.status == "PENDING"
    assert started(machine) is trial
    machine.handle(Failed(trial.trial_id, ValueError("no"), "ValueError: no"))
    assert trial.status == "ERROR"
    assert trial.num_failures == 2
    assert machine.finished


def test_a_trial_goes_on_counting_from_its_checkpoint() -> None:
    machine = controller(1, max_failures=-1)
    trial = started(machine)
    reported(machine, trial, loss=3.0, checkpoint="checkpoint_000000")
    reported(machine, trial, loss=2.0)
    machine.handle(Failed(trial.trial_id, ValueError("no"), "no"))
    started(machine)
    assert machine.start_iteration(trial) == 1
    reported(machine, trial, loss=2.0)
    assert trial.last_result["training_iteration"] == 2
    assert trial.last_result["iterations_since_restore"] == 1


def test_checkpoints_that_are_too_many_go() -> None:
    machine = controller(1, checkpoints=CheckpointConfig(num_to_keep=1))
    trial = started(machine)
    reported(machine, trial, loss=1.0, checkpoint="checkpoint_000000")
    actions = reported(machine, trial, loss=1.0, checkpoint="checkpoint_000001")
    assert [each.kept.name for each in actions if isinstance(each, Discard)] == ["checkpoint_000000"]


def test_a_stopper_ends_a_trial_and_its_process_is_free_when_it_has_left() -> None:
    machine = controller(1, stopper=DictStopper({"training_iteration": 2}))
    trial = started(machine)
    assert answer(reported(machine, trial, loss=1.0)) == "CONTINUE"
    assert answer(reported(machine, trial, loss=1.0)) == "STOP"
    assert trial.status == "TERMINATED"
    assert not machine.finished
    machine.handle(Left(trial.trial_id))
    assert machine.finished


def test_what_shares_a_process_that_dies_runs_again_alone() -> None:
    machine = controller(2)
    trials = [started(machine), started(machine)]
    machine.handle(Lost([each.trial_id for each in trials], "killed"))
    assert [each.status for each in trials] == ["PENDING", "PENDING"]
    assert machine.alone == {each.trial_id for each in trials}
    assert all(each.num_failures == 0 for each in trials)


def test_a_metric_that_is_misspelled_ends_the_experiment_and_says_which_there_were() -> None:
    machine = controller(1, metric="acuracy")
    trial = started(machine)
    actions = reported(machine, trial, accuracy=0.5)
    [over] = [each for each in actions if isinstance(each, Over)]
    assert isinstance(over.error, TuneError)
    assert "reported were: accuracy. Did you mean 'accuracy'?" in str(over.error)


def test_the_time_budget_ends_what_runs() -> None:
    machine = controller(5, time_budget=10.0)
    machine.handle(Tick(100.0))
    trial = started(machine)
    assert not machine.over
    assert any(isinstance(each, Over) for each in machine.handle(Tick(110.0)))
    assert trial.status == "TERMINATED"
    assert machine.error is None
    assert machine.next_trial() is None


def test_a_halt_leaves_trials_to_go_on_later() -> None:
    machine = controller(2)
    trial = started(machine)
    machine.handle(Halt("interrupted", KeyboardInterrupt()))
    assert trial.status == "RUNNING"
    assert machine.over


def test_a_searcher_that_raises_is_named() -> None:
    class Broken(BasicVariantGenerator):
        def next(self, trial_id: str) -> Any:
            raise ZeroDivisionError("by zero")

    machine = Controller(Setup(scheduler=FIFOScheduler(), source=Broken()))
    assert machine.next_trial() is None
    assert "the searcher Broken raised ZeroDivisionError: by zero" in str(machine.error)


class PauseAndStop(FIFOScheduler):
    """Does to trials what a test says, by their metric."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Any) -> str:
        return str(result["does"])


class AnyOrder(RuleBasedStateMachine):
    """A whole experiment, with processes that report, leave, fail and die in any order."""

    @initialize(samples=st.integers(1, 6), failures=st.integers(-1, 2))
    def begin(self, samples: int, failures: int) -> None:
        self.samples = samples
        self.machine = controller(samples, PauseAndStop(), max_failures=failures)
        self.running: dict[str, Trial] = {}  # trials with a process, as the shell sees it
        self.leaving: dict[str, Trial] = {}  # those that were told to
        self.records: dict[str, int] = {}

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Answer) and action.decision in ("STOP", "PAUSE"):
                self.leaving[action.trial.trial_id] = self.running.pop(action.trial.trial_id)
            elif isinstance(action, Kill):
                self.running.pop(action.trial.trial_id)
            elif isinstance(action, Record):
                self.records[action.trial.trial_id] = self.records.get(action.trial.trial_id, 0) + 1

    @rule()
    def start(self) -> None:
        trial = self.machine.next_trial()
        self.act(self.machine.take())
        if trial is not None:
            assert trial.trial_id not in self.running
            assert trial.trial_id not in self.leaving
            self.running[trial.trial_id] = trial

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(), does=st.sampled_from(["CONTINUE", "CONTINUE", "PAUSE", "STOP"]), saves=st.booleans()
    )
    def report(self, data: st.DataObject, does: str, saves: bool) -> None:
        trial_id = data.draw(st.sampled_from(sorted(self.running)))
        trial = self.running[trial_id]
        before = self.records.get(trial_id, 0)
        self.act(reported(self.machine, trial, does=does, checkpoint="c" if saves else None))
        assert self.records[trial_id] == before + 1

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        trial = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        self.act(self.machine.handle(Left(trial.trial_id)))
        assert trial.status == "TERMINATED"

    @precondition(lambda self: self.leaving)
    @rule(data=st.data(), saves=st.booleans())
    def leave_as_told(self, data: st.DataObject, saves: bool) -> None:
        trial = self.leaving.pop(data.draw(st.sampled_from(sorted(self.leaving))))
        if saves:
            self.act(self.machine.handle(Saved(trial.trial_id, "saved")))
        self.act(self.machine.handle(Left(trial.trial_id)))
        assert trial.status in ("PAUSED", "TERMINATED")

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        trial = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        self.act(self.machine.handle(Failed(trial.trial_id, ValueError("no"), "no")))
        assert trial.status in ("PENDING", "ERROR")

    @precondition(lambda self: len(self.running) > 1)
    @rule()
    def die_together(self) -> None:
        lost = list(self.running)
        self.running.clear()
        self.act(self.machine.handle(Lost(lost, "killed")))

    @invariant()
    def books_agree(self) -> None:
        machine = self.machine
        assert set(machine.placed) == self.running.keys() | self.leaving.keys()
        assert len(machine.trials) <= self.samples
        for trial in machine.trials:
            waits = trial in [*machine.waiting("PENDING"), *machine.waiting("PAUSED")]
            assert waits == (trial.status in ("PENDING", "PAUSED") and trial.trial_id not in machine.placed)
            assert (trial in list(machine.get_live_trials())) == (not trial.is_finished())
            assert (trial.status == "RUNNING") == (trial.trial_id in self.running)

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        # Whatever has happened, an experiment whose trials only end comes to its end.
        for _ in range(200):
            if self.machine.finished:
                break
            for trial_id in [*self.running, *self.leaving]:
                self.act(self.machine.handle(Left(trial_id)))
            self.running.clear()
            self.leaving.clear()
            self.start()
        assert self.machine.finished
        assert all(trial.is_finished() for trial in self.machine.trials)
        assert len(self.machine.trials) == self.samples


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_order = AnyOrder.TestCase
