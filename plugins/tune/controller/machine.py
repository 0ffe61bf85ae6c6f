"""The controller: what an experiment does next. Events in, actions out; no clock, no processes, no files in here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from shoal.errors import ConfigError
from shoal.train.config import CheckpointConfig
from shoal.train.controller.kept import Kept, KeptCheckpoints
from shoal.tune.controller.events import (
    Action,
    Answer,
    Changed,
    Discard,
    Event,
    Failed,
    Halt,
    Kill,
    Left,
    Lost,
    Over,
    Record,
    Reported,
    Saved,
    Say,
    Tell,
    Tick,
)
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import About, Trial
from shoal.tune.resources import PlacementGroupFactory, resources_of
from shoal.tune.schedulers.trial_scheduler import AUTO, TrialScheduler, missing_metric
from shoal.tune.search.search_algorithm import DONE, WAIT, SearchAlgorithm, Suggestion
from shoal.tune.stopper import NoopStopper, Stopper

NAMES = Callable[[Trial], tuple[str, str]]  # from a trial to its tag and its folder's name


@attrs.frozen(kw_only=True)
class Setup:
    """How an experiment is set up."""

    scheduler: TrialScheduler
    source: SearchAlgorithm
    stopper: Stopper = attrs.field(factory=NoopStopper)
    metric: str | None = None
    max_failures: int = 0
    fail_fast: bool = False
    checkpoints: CheckpointConfig = attrs.field(factory=CheckpointConfig)
    time_budget: float | None = None
    prefix: str = "trial"
    resources: Any = None  # of a trial: a PlacementGroupFactory, or a function from its configuration to one
    names: NAMES | None = None
    about: About | None = None  # what all trials have in common
    begin_from: str | None = None  # the path of a checkpoint that all trials begin from


class Controller:
    """Leads one experiment: `next_trial` gives what is to be started, `handle` takes what happened.

    It is also what schedulers see of the experiment (TrialView). A trial that was told to stop or pause still has its
    process until Left comes; until then it is not started again.
    """

    def __init__(self, setup: Setup, known: Sequence[Trial] = ()) -> None:
        self._setup = setup
        self._scheduler = setup.scheduler
        self._source = setup.source
        self.trials: list[Trial] = list(known)
        self._by_id = {trial.trial_id: trial for trial in known}
        self._live = {trial.trial_id: trial for trial in known if not trial.is_finished()}
        self._waiting: dict[str, dict[str, Trial]] = {Trial.PENDING: {}, Trial.PAUSED: {}}
        for trial in self.trials:
            trial.about = setup.about
        for trial in self._live.values():
            trial.status = Trial.PENDING
            self._waiting[Trial.PENDING][trial.trial_id] = trial
        self.placed: dict[str, Trial] = {}  # those that have a process
        self.alone: set[str] = set()  # those that may have killed a process they shared
        self.nodes_have: dict[str, float] = {}  # set by whoever looks at them
        self._held: list[
            tuple[Trial, Kept]
        ] = []  # checkpoints that are to go, which another trial begins from
        self.over = False
        self.error: BaseException | None = None
        self._began: float | None = None
        self._saves: set[str] = set()
        self._pauses: set[str] = set()
        self._metric_seen = False
        self._dry = False
        self._actions: list[Action] = []
        self._clock: dict[str, tuple[float, float]] = {}  # seconds of a trial: in all, and of this attempt
        self._since: dict[str, int] = {}  # reports of this attempt

    # What schedulers see

    def get_trials(self) -> list[Trial]:
        """Return all trials, in the order they were made."""
        return self.trials

    def get_live_trials(self) -> Iterable[Trial]:
        """Return the trials that have not ended."""
        return list(self._live.values())

    def get_trial(self, tid: str) -> Trial | None:
        """Return the trial of that name, None if there is none."""
        return self._by_id.get(tid)

    def waiting(self, status: str) -> Iterable[Trial]:
        """Return the trials that are PENDING or PAUSED and have no process."""
        return (trial for trial in self._waiting[status].values() if trial.trial_id not in self.placed)

    def stop_trial(self, trial: Trial) -> None:
        """End a trial, whatever it does."""
        if trial.is_finished():
            return
        running = trial.status == Trial.RUNNING
        self._end(trial, Trial.TERMINATED)
        self._source.on_trial_complete(trial.trial_id, trial.last_result or None)
        if running and trial.trial_id in self.placed:
            self._actions.append(Kill(trial))

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Have a running trial paused at its next report."""
        if trial.status == Trial.RUNNING:
            self._pauses.add(trial.trial_id)

    def save_trial(self, trial: Trial) -> None:
        """Have a trial save a checkpoint when it is answered."""
        self._saves.add(trial.trial_id)

    def cluster_resources(self) -> dict[str, float]:
        """Return what the nodes have in all, as it was seen last."""
        return dict(self.nodes_have)

    def resources_of_trial(self, trial: Trial) -> PlacementGroupFactory:
        """Return what a trial gets."""
        given = trial.resources or self._setup.resources
        if not callable(given) or isinstance(given, PlacementGroupFactory):
            return resources_of(given)
        return resources_of(given(trial.config))

    @property
    def finished(self) -> bool:
        """Whether every trial has ended and there will be no more."""
        return self.over or (not self._live and not self.placed and self._source.is_finished())

    @property
    def stalled(self) -> bool:
        """Whether trials wait that the scheduler does not start, while nothing runs."""
        return not self.over and bool(self._live) and not self.placed

    def set_stopper(self, stopper: Stopper) -> Stopper:
        """Take another stopper: the one of the run that this goes on from."""
        self._setup = attrs.evolve(self._setup, stopper=stopper)
        return stopper

    # Starting

    def next_trial(self) -> Trial | None:
        """Return a trial that is to be started now, None if there is none; it is RUNNING then."""
        if self.over:
            return None
        try:
            if not any(True for _ in self.waiting(Trial.PENDING)):
                self._make()
            trial = self._scheduler.choose_trial_to_run(self)
        except (TuneError, ConfigError) as error:
            self._halt(error)
            return None
        if trial is None:
            return None
        if trial.status not in self._waiting or trial.trial_id in self.placed:
            self._halt(
                TuneError(f"{type(self._scheduler).__name__} wants to start {trial!r}, which does not wait")
            )
            return None
        first = not trial.last_result and not trial.num_failures
        self._move(trial, Trial.RUNNING)
        self.placed[trial.trial_id] = trial
        self._since[trial.trial_id] = 0
        total, _ = self._clock.get(trial.trial_id, (float(trial.last_result.get("time_total_s", 0.0)), 0.0))
        self._clock[trial.trial_id] = total, 0.0
        self._actions.append(Changed(trial))
        self._actions.append(Tell("on_trial_start" if first else "on_trial_restore", trial))
        return trial

    def put_back(self, trial: Trial) -> None:
        """Have a trial wait again that was to be started, and for which there is no process now."""
        self.placed.pop(trial.trial_id, None)
        self._move(trial, Trial.PENDING)

    def _make(self) -> None:
        """Ask for a new trial."""
        if self._dry or self._source.is_finished():
            return
        number = len(self.trials)
        trial_id = f"{self._setup.prefix}_{number:05d}"
        try:
            found = self._source.next(trial_id)
        except Exception as error:  # a searcher's, which may raise anything
            if isinstance(error, (ConfigError, TuneError)):
                raise
            searcher = getattr(self._source, "searcher", self._source)  # the one within, if there is one
            raise TuneError(
                f"the searcher {type(searcher).__name__} raised {type(error).__name__}: {error}"
            ) from error
        if found is DONE:
            self._source.set_finished()
            return
        if found is WAIT:
            if not self.placed and not self._live:  # nobody will ever tell it more
                self._dry = True
                self._source.set_finished()
                self._actions.append(
                    Say("the searcher has nothing more to try; the experiment ends with what there is")
                )
            return
        if not isinstance(found, Suggestion):
            raise TuneError(f"the searcher returned {found!r} and no Suggestion, WAIT or DONE")
        checkpoints = self._setup.checkpoints
        trial = Trial(
            trial_id,
            number,
            found.config,
            {"/".join(map(str, path)): value for path, value in found.chosen.items()},
            kept=KeptCheckpoints(
                checkpoints.num_to_keep,
                checkpoints.checkpoint_score_attribute,
                checkpoints.checkpoint_score_order,
            ),
            restore_path=self._setup.begin_from,
            about=self._setup.about,
        )
        if self._setup.names is not None:
            trial.experiment_tag, trial.dirname = self._setup.names(trial)
        self.trials.append(trial)
        self._by_id[trial_id] = trial
        self._live[trial_id] = trial
        self._waiting[Trial.PENDING][trial_id] = trial
        self._scheduler.on_trial_add(self, trial)
        self._actions.append(Changed(trial))

    # Events

    def take(self) -> list[Action]:
        """Return what is to be done because of `next_trial`."""
        actions, self._actions = self._actions, []
        return actions

    def handle(self, event: Event) -> list[Action]:
        """Return what to do now that this has happened, in order."""
        try:
            self._handle(event)
        except (TuneError, ConfigError) as error:
            self._halt(error)
        return self.take()

    def _handle(self, event: Event) -> None:
        match event:
            case Tick():
                self._tick(event.now)
                return
            case Halt():
                self._actions.append(Say(event.why))
                self._stop_everything(event.error)
                return
            case Lost():
                self._lost(event)
                return
            case Left():
                self._left(event.trial_id)
                return
        trial = self._by_id.get(event.trial_id)
        if isinstance(event, Saved):
            if trial is not None:
                self._kept(trial, event.checkpoint, None, trial.last_result)
                self._actions.append(Changed(trial))
            return
        if trial is None or trial.status not in (Trial.RUNNING, Trial.PAUSED):
            if isinstance(event, Reported) and event.waits and trial is not None:
                self._actions.append(Answer(trial, "STOP"))
            elif isinstance(event, Failed):
                self._left(event.trial_id)
            return
        match event:
            case Reported():
                self._reported(trial, event)
            case Failed():
                self._failed(trial, event)

    def _reported(self, trial: Trial, event: Reported) -> None:
        result = self._filled(trial, event)
        metric = self._setup.metric
        if metric is not None and metric not in result:
            raise TuneError(f"trial {trial.trial_id}: {missing_metric(metric, result)}")
        self._metric_seen = True
        self._began = event.now if self._began is None else self._began
        trial.update_last_result(result)
        kept = self._kept(trial, event.checkpoint, event.path, result) if event.checkpoint else None
        self._actions.append(Record(trial, result, kept))
        begins_from = trial.restore_path
        decision = self._decide(trial, result)
        if not trial.is_finished() and decision != TrialScheduler.STOP:
            self._source.on_trial_result(trial.trial_id, result)
        self._actions.append(Tell("on_trial_result", trial, {"result": result}))
        if decision == TrialScheduler.NOOP and trial.is_finished():
            return  # the scheduler has stopped it, with a Kill
        save = trial.trial_id in self._saves
        self._saves.discard(trial.trial_id)
        if decision == TrialScheduler.CONTINUE and trial.trial_id in self._pauses:
            decision = TrialScheduler.PAUSE
        self._pauses.discard(trial.trial_id)
        if decision == TrialScheduler.STOP:
            self._end(trial, Trial.TERMINATED)
        elif decision == TrialScheduler.PAUSE:
            self._move(trial, Trial.PAUSED)
            self._actions.append(Changed(trial))
            save = trial.restore_path == begins_from  # else it goes on as another, from that one's checkpoint
        if event.waits:
            self._actions.append(Answer(trial, decision, save))
        elif decision != TrialScheduler.CONTINUE:
            self._actions.append(Kill(trial))
        if self._setup.stopper.stop_all():
            self._actions.append(Say(f"{type(self._setup.stopper).__name__} ends the experiment"))
            self._stop_everything(None)

    def _decide(self, trial: Trial, result: dict[str, Any]) -> str:
        ends = self._setup.stopper(trial.trial_id, result) or bool(result.get("done"))
        if ends:
            result["done"] = True
            self._scheduler.on_trial_complete(self, trial, result)
            self._source.on_trial_complete(trial.trial_id, result)
            return TrialScheduler.STOP
        decision = self._scheduler.on_trial_result(self, trial, result)
        if decision == TrialScheduler.STOP and not trial.is_finished():
            result["done"] = True
            self._source.on_trial_complete(trial.trial_id, result)
        return decision

    def _filled(self, trial: Trial, event: Reported) -> dict[str, Any]:
        """Return the metrics with what every report has."""
        total, recent = self._clock.get(trial.trial_id, (0.0, 0.0))
        total, recent = total + event.spent, recent + event.spent
        self._clock[trial.trial_id] = total, recent
        since = self._since.get(trial.trial_id, 0) + 1
        self._since[trial.trial_id] = since
        base = trial.iteration if since > 1 else self.start_iteration(trial)
        result: dict[str, Any] = {
            "training_iteration": base + 1,
            "done": False,
            "trial_id": trial.trial_id,
            "experiment_tag": trial.experiment_tag,
            "timestamp": int(event.now),
            "time_this_iter_s": event.spent,
            "time_total_s": total,
            "time_since_restore": recent,
            "iterations_since_restore": since,
            "pid": event.pid,
            "hostname": event.hostname,
        }
        result.update(event.metrics)
        return result

    @staticmethod
    def start_iteration(trial: Trial) -> int:
        """Return how many reports a trial that starts now has behind it: those of the checkpoint it starts from."""
        if trial.restore_path is not None:
            return trial.restore_iteration
        newest = trial.checkpoint
        return int(newest.metrics.get("training_iteration", 0)) if newest is not None else 0

    def _kept(self, trial: Trial, name: str | None, path: str | None, result: Mapping[str, Any]) -> Kept:
        index = trial.next_index
        trial.next_index += 1
        trial.restore_path = None  # it has one of its own now
        said = {key: value for key, value in result.items() if isinstance(value, (int, float, str))}
        kept = Kept(index, name or f"checkpoint_{index:06d}", said, path)
        self._held += [(trial, gone) for gone in trial.kept.add(kept)]
        self._discard()
        self._actions.append(Tell("on_checkpoint", trial, {"checkpoint": kept}))
        return kept

    def _discard(self) -> None:
        """Have checkpoints deleted that are too many, but for those that a trial is to begin from."""
        needed = {each.restore_path for each in self._live.values() if each.restore_path is not None}
        held, self._held = self._held, []
        for trial, gone in held:
            if needed and (gone.path or f"{trial.dirname}/{gone.name}") in needed:
                self._held.append((trial, gone))
            else:
                self._actions.append(Discard(trial, gone))

    def _left(self, trial_id: str) -> None:
        trial = self.placed.pop(trial_id, None)
        if trial is None or trial.status != Trial.RUNNING:
            return
        # By itself: the function has returned.
        if self._setup.metric is not None and not trial.last_result and not self._metric_seen:
            self._actions.append(
                Say(
                    f"trial {trial_id} ended without a report: the metric {self._setup.metric!r} was never reported"
                )
            )
        self.alone.discard(trial_id)
        trial.last_result = {**trial.last_result, "done": True} if trial.last_result else {}
        self._end(trial, Trial.TERMINATED)
        self._scheduler.on_trial_complete(self, trial, trial.last_result)
        self._source.on_trial_complete(trial_id, trial.last_result or None)

    def _failed(self, trial: Trial, event: Failed) -> None:
        self.placed.pop(trial.trial_id, None)
        trial.num_failures += 1
        trial.error, trial.exception = event.text, event.error
        bound = self._setup.max_failures
        if not self._setup.fail_fast and (bound == -1 or trial.num_failures <= bound):
            of = "" if bound == -1 else f" of {bound}"
            newest = trial.checkpoint
            where = f"from {newest.name}" if newest else "from the beginning (it has no checkpoint)"
            self._move(trial, Trial.PENDING)
            self._actions.append(Changed(trial))
            self._actions.append(
                Say(
                    f"trial {trial.trial_id}, failure {trial.num_failures}{of}: {last_line(event.text)}; "
                    f"it starts again {where}"
                )
            )
            self._actions.append(Tell("on_trial_recover", trial))
            return
        self._end(trial, Trial.ERROR)
        self._actions.append(Say(f"trial {trial.trial_id} failed: {last_line(event.text)}"))
        self._scheduler.on_trial_error(self, trial)
        self._source.on_trial_complete(trial.trial_id, error=True)
        if self._setup.fail_fast:
            self._stop_everything(None)

    def _lost(self, event: Lost) -> None:
        for trial_id in event.trial_ids:
            trial = self.placed.pop(trial_id, None)
            if trial is None or trial.status != Trial.RUNNING:
                continue
            self.alone.add(trial_id)
            self._move(trial, Trial.PENDING)
            self._actions.append(Changed(trial))
        self._actions.append(
            Say(
                f"a process that {len(event.trial_ids)} trials shared died ({last_line(event.text)}); "
                "each of them runs again in a process of its own"
            )
        )

    def _tick(self, now: float) -> None:
        self._began = now if self._began is None else self._began
        budget = self._setup.time_budget
        if budget is not None and now - self._began >= budget:
            self._actions.append(Say(f"the time budget of {budget:g} s is over"))
            self._stop_everything(None)
        elif self._setup.stopper.stop_all():
            self._actions.append(Say(f"{type(self._setup.stopper).__name__} ends the experiment"))
            self._stop_everything(None)

    # The end

    def _halt(self, error: BaseException) -> None:
        self._stop_everything(error)

    def _stop_everything(self, error: BaseException | None) -> None:
        if self.over:
            return
        self.over, self.error = True, error
        for trial in list(self._live.values()):
            if trial.status == Trial.RUNNING and error is None:
                self._end(trial, Trial.TERMINATED)
                self._source.on_trial_complete(trial.trial_id, trial.last_result or None)
            else:
                self._actions.append(Changed(trial))
        self.placed.clear()
        self._actions.append(Over(error))

    def _end(self, trial: Trial, status: str) -> None:
        self._move(trial, status)
        self._live.pop(trial.trial_id, None)
        self._clock.pop(trial.trial_id, None)
        self._since.pop(trial.trial_id, None)
        self._saves.discard(trial.trial_id)
        self._pauses.discard(trial.trial_id)
        self._actions.append(Changed(trial))
        self._actions.append(Tell("on_trial_error" if status == Trial.ERROR else "on_trial_complete", trial))

    def _move(self, trial: Trial, status: str) -> None:
        if trial.status in self._waiting:
            self._waiting[trial.status].pop(trial.trial_id, None)
        trial.status = status
        if status in self._waiting:
            self._waiting[status][trial.trial_id] = trial


def last_line(text: str) -> str:
    """Return the last line that says something: of a traceback, the error.

    Example: `last_line("Traceback …\\nValueError: no")  # "ValueError: no"`
    """
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:400] if lines else "no reason is known"


def is_number(value: Any) -> bool:
    """Return whether a metric is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def own_metrics(result: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics that a trial itself has reported."""
    return sorted(name for name in result if name not in AUTO)
