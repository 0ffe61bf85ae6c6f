"""HyperBand (Li et al., 2018): successive halving in brackets, where trials wait for each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.experiment.trial import Trial
from shoal.tune.modes import check_mode
from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialView

__all__ = ["Bracket", "HyperBandScheduler", "bracket_sizes"]


def bracket_sizes(max_t: float, eta: float) -> list[tuple[int, float]]:
    """Return each bracket's number of trials and its first milestone, as the paper's outer loop has them.

    Example: `bracket_sizes(81, 3)  # [(81, 1.0), (34, 3.0), (15, 9.0), (8, 27.0), (5, 81.0)]`
    """
    s_max = int(math.log(max_t) / math.log(eta) + 1e-9)
    return [(math.ceil((s_max + 1) / (s + 1) * eta**s - 1e-9), max_t * eta**-s) for s in range(s_max, -1, -1)]


class Bracket:
    """Trials that are halved together: at each milestone the best 1/eta of those that came there go on."""

    def __init__(self, size: int, first: float, max_t: float, eta: float) -> None:
        self.size = size
        self.milestone = first
        self.max_t = max_t
        self.eta = eta
        self.members: list[str] = []
        self.live: set[str] = set()
        self.scores: dict[str, float] = {}  # of those that came to the milestone
        self.rung = 0

    @property
    def full(self) -> bool:
        """Whether no trial is added any more: it has its number, or has begun to halve."""
        return self.rung > 0 or len(self.members) >= self.size

    def add(self, trial_id: str) -> None:
        """Add a trial."""
        self.members.append(trial_id)
        self.live.add(trial_id)

    def note(self, trial_id: str, score: float) -> None:
        """Note that a trial has come to the milestone."""
        self.scores[trial_id] = score

    def remove(self, trial_id: str) -> None:
        """Know that a trial has ended."""
        self.live.discard(trial_id)
        self.scores.pop(trial_id, None)

    @property
    def ready(self) -> bool:
        """Whether all that live have come to the milestone."""
        return bool(self.live) and self.live == self.scores.keys()

    @property
    def last(self) -> bool:
        """Whether the milestone is the end."""
        return self.milestone >= self.max_t - 1e-9

    def halve(self) -> tuple[list[str], list[str]]:
        """Return who goes on to the next milestone, best first, and who does not.

        As many go on as the paper has: floor(n / eta^(rung + 1)) of the n that the bracket began with.
        """
        self.rung += 1
        keep = max(1, int(len(self.members) * self.eta**-self.rung + 1e-9))
        # Of equals the one that was made first.
        order = sorted(self.live, key=lambda each: (-self.scores[each], self.members.index(each)))
        good, bad = order[:keep], order[keep:]
        self.live = set(good)
        self.scores = {}
        self.milestone = min(self.milestone * self.eta, self.max_t)
        return good, bad


class HyperBandScheduler(FIFOScheduler):
    """HyperBand: trials are dealt to brackets of different sizes, and wait at milestones for all of their bracket.

    Trials that wait are paused: they need checkpoints, or begin again from the start.

    Parameters: `time_attr` is what milestones count, `metric` and `mode` ("max" or "min") what is best, `max_t` the end
    of a trial and `reduction_factor` how many of a bracket's trials one is kept of. With `stop_last_trials=False` a
    trial that reaches `max_t` goes on.
    Raises ConfigError.

    Example: `HyperBandScheduler(metric="loss", mode="min", max_t=81, reduction_factor=3)`
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
    ) -> None:
        if not max_t > 0:
            raise ConfigError(f"max_t must be more than 0, not {max_t}")
        if not reduction_factor > 1:
            raise ConfigError(f"reduction_factor must be more than 1, not {reduction_factor}")
        check_mode(mode)
        self.metric = metric
        self.mode = mode
        self.time_attr = time_attr
        self._max_t = max_t
        self._eta = reduction_factor
        self._stop_last = stop_last_trials
        self._sizes = bracket_sizes(max_t, reduction_factor)
        self.brackets: list[Bracket] = []
        self._bracket_of: dict[str, int] = {}
        self.released: set[str] = set()  # paused trials that may go on
        self.num_stopped = 0

    @property
    def needs_every_report(self) -> bool:
        """True: at milestones trials wait."""
        return True

    def on_trial_add(self, tune_controller: TrialView, trial: Trial) -> None:
        """Put the trial into the bracket that is open. Raises ConfigError without a metric or mode."""
        if not self.metric or not self.mode:
            raise ConfigError(
                f"{type(self).__name__} needs metric and mode: give them to it or to TuneConfig"
            )
        if not self.brackets or self.brackets[-1].full:
            size, first = self._sizes[len(self.brackets) % len(self._sizes)]
            self.brackets.append(Bracket(size, first, self._max_t, self._eta))
        self.brackets[-1].add(trial.trial_id)
        self._bracket_of[trial.trial_id] = len(self.brackets) - 1

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """Pause the trial at its bracket's milestone; halve the bracket when it is the last to come there."""
        score = self.score(result)
        bracket = self.brackets[self._bracket_of[trial.trial_id]]
        time = result.get(self.time_attr)
        if time is None or time < bracket.milestone - 1e-9:
            return self.CONTINUE
        if bracket.last and not self._stop_last:
            return self.CONTINUE
        bracket.note(trial.trial_id, score)
        if bracket.last:
            bracket.remove(trial.trial_id)
            self.num_stopped += 1
            return self.STOP
        if bracket.ready and bracket.full:
            return self._halve(tune_controller, bracket, trial)
        return self.PAUSE

    def _halve(self, view: TrialView, bracket: Bracket, present: Trial | None) -> str:
        good, bad = bracket.halve()
        trials = {trial.trial_id: trial for trial in view.get_live_trials()}
        self.released.update(good)
        for trial_id in bad:
            self.num_stopped += 1
            if present is None or trial_id != present.trial_id:
                view.stop_trial(trials[trial_id])
        if present is None:
            return self.NOOP
        if present.trial_id in bad:
            return self.STOP
        self.released.discard(present.trial_id)
        return self.CONTINUE

    def on_trial_complete(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> None:
        """Go on without the trial: the others do not wait for it."""
        self._leave(tune_controller, trial)

    def on_trial_error(self, tune_controller: TrialView, trial: Trial) -> None:
        """Go on without the trial."""
        self._leave(tune_controller, trial)

    def on_trial_remove(self, tune_controller: TrialView, trial: Trial) -> None:
        """Go on without the trial."""
        self._leave(tune_controller, trial)

    def _leave(self, view: TrialView, trial: Trial) -> None:
        bracket = self.brackets[self._bracket_of[trial.trial_id]]
        bracket.remove(trial.trial_id)
        self.released.discard(trial.trial_id)
        if bracket.full and bracket.ready:
            self._halve(view, bracket, None)

    def choose_trial_to_run(self, tune_controller: TrialView) -> Trial | None:
        """Return a new trial, or one that its bracket lets go on."""
        for trial in tune_controller.waiting(Trial.PENDING):
            return trial
        found = self._released(tune_controller)
        if found is None:
            # No trial will come any more for now: brackets that are not full halve with those they have.
            for bracket in self.brackets:
                if not bracket.full and bracket.ready:
                    self._halve(tune_controller, bracket, None)
            found = self._released(tune_controller)
        return found

    def _released(self, view: TrialView) -> Trial | None:
        for trial in view.waiting(Trial.PAUSED):
            if trial.trial_id in self.released:
                self.released.discard(trial.trial_id)
                return trial
        return None

    def state(self) -> dict[str, int]:
        """Return how many brackets there are, and how many trials were stopped."""
        return {"num_brackets": len(self.brackets), "num_stopped": self.num_stopped}

    def debug_string(self) -> str:
        """Return what the brackets do."""
        lines = "\n".join(
            f"Bracket of {len(bracket.members)}: {len(bracket.live)} live, next milestone {bracket.milestone:g}"
            for bracket in self.brackets
        )
        return f"Using HyperBand: num_stopped={self.num_stopped}\n{lines}"
