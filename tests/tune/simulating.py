"""Experiments in virtual time: the real controller and scheduler, and trials that are curves."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from shoal.tune.controller.events import Action, Answer, Kill, Left, Over, Reported, Saved
from shoal.tune.controller.machine import Controller, Setup
from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers import TrialScheduler
from shoal.tune.search import SearchAlgorithm, Searcher, SearchGenerator
from shoal.tune.search.basic_variant import BasicVariantGenerator
from shoal.tune.stopper import MaximumIterationStopper, NoopStopper

# From a configuration and a state to the next state and its metrics.
Step = Callable[[Mapping[str, Any], Any], tuple[Any, dict[str, Any]]]


class Simulation:
    """Runs an experiment of a class that can be saved at any step, on so many processes, in virtual time."""

    def __init__(
        self,
        scheduler: TrialScheduler,
        space: Mapping[str, Any],
        step: Step,
        *,
        begin: Any = 0,
        samples: int = 1,
        workers: int = 4,
        takes: Callable[[Trial, int], float] = lambda trial, iteration: 1.0,
        longest: int | None = None,
        metric: str = "score",
        mode: str = "max",
        seed: int = 1,
        searcher: Searcher | None = None,
    ) -> None:
        source: SearchAlgorithm = BasicVariantGenerator(random_state=seed)
        if searcher is not None:
            source = SearchGenerator(searcher)
        source.set_search_properties(metric, mode, space, num_samples=samples, seed=seed)
        scheduler.set_search_properties(
            None if scheduler.metric else metric, None if scheduler.mode else mode, seed=seed
        )
        stopper = NoopStopper() if longest is None else MaximumIterationStopper(longest)
        self.machine = Controller(
            Setup(
                scheduler=scheduler, source=source, stopper=stopper, names=lambda trial: ("", trial.trial_id)
            )
        )
        self.machine.nodes_have = {"CPU": float(workers)}
        self._step, self._begin, self._workers, self._takes = step, begin, workers, takes
        self._state: dict[str, Any] = {}
        self._saved: dict[str, Any] = {}  # by checkpoint's path
        self._heap: list[tuple[float, int, str]] = []
        self._count = itertools.count()
        self._running: set[str] = set()
        self.lengths: dict[int, list[int]] = {}  # each trial's reports, in order

    def run(self, most: int = 1_000_000) -> list[Trial]:
        """Run it to its end; return the trials."""
        now = 0.0
        for _ in range(most):
            while len(self._running) < self._workers and (trial := self.machine.next_trial()) is not None:
                path = trial.restore_path or (
                    f"{trial.dirname}/{trial.checkpoint.name}" if trial.checkpoint else None
                )
                self._state[trial.trial_id] = self._begin if path is None else self._saved[path]
                self._running.add(trial.trial_id)
                self._later(trial, now)
            self._do(self.machine.take(), now)
            if self.machine.finished:
                return self.machine.trials
            assert self._heap, "trials wait, and the scheduler starts none"
            now, _, trial_id = heapq.heappop(self._heap)
            if trial_id in self._running:
                self._report(self.machine._by_id[trial_id], now)
        raise AssertionError("the experiment does not end")

    def _later(self, trial: Trial, now: float) -> None:
        delay = self._takes(trial, trial.iteration + 1)
        heapq.heappush(self._heap, (now + delay, next(self._count), trial.trial_id))

    def _report(self, trial: Trial, now: float) -> None:
        state, metrics = self._step(trial.config, self._state[trial.trial_id])
        self._state[trial.trial_id] = state
        actions = self.machine.handle(Reported(trial.trial_id, metrics, now, 1.0))
        self.lengths.setdefault(trial.number, []).append(trial.iteration)
        self._do(actions, now)

    def _do(self, actions: list[Action], now: float) -> None:
        for action in actions:
            if isinstance(action, Answer):
                trial = action.trial
                if action.save:
                    name = f"checkpoint_{trial.next_index:06d}"
                    self._saved[f"{trial.dirname}/{name}"] = self._state[trial.trial_id]
                    self._do(self.machine.handle(Saved(trial.trial_id, name)), now)
                if action.decision == "CONTINUE":
                    self._later(trial, now)
                else:
                    self._leave(trial, now)
            elif isinstance(action, Kill):
                self._leave(action.trial, now)
            elif isinstance(action, Over):
                assert action.error is None, action.error
                self._running.clear()

    def _leave(self, trial: Trial, now: float) -> None:
        self._running.discard(trial.trial_id)
        self._do(self.machine.handle(Left(trial.trial_id)), now)
