"""Asynchronous successive halving (Li et al., 2020, "A System for Massively Parallel Hyperparameter Tuning")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.experiment.trial import Trial
from shoal.tune.modes import check_mode
from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialView

__all__ = ["ASHAScheduler", "AsyncHyperBandScheduler"]


class _Bracket:
    """Rungs, and the scores that trials had when they came to each."""

    def __init__(self, min_t: float, max_t: float, factor: float, shift: int, stop_last: bool) -> None:
        self.factor = factor
        self.stop_last = stop_last
        self.rungs: list[tuple[float, dict[str, float]]] = []
        milestone = min_t * factor**shift
        while milestone < max_t:
            self.rungs.append((milestone, {}))
            milestone *= factor
        self.rungs.reverse()  # the highest first

    def on_result(self, trial_id: str, time: float, score: float) -> bool:
        """Note a report; return whether the trial goes on."""
        for milestone, recorded in self.rungs:
            if time < milestone or trial_id in recorded:
                continue
            goes_on = self._promotes(recorded, score)
            recorded[trial_id] = score
            return goes_on
        return True

    def _promotes(self, recorded: dict[str, float], score: float) -> bool:
        """Whether a score is as good as the best 1/factor of those who came here before; the first one is."""
        return not recorded or score >= _percentile(sorted(recorded.values()), 1 - 1 / self.factor)

    def debug(self) -> str:
        return " | ".join(f"Iter {milestone:.3f}: {len(recorded)}" for milestone, recorded in self.rungs)


def _percentile(ordered: list[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    if ordered[low] == ordered[high] or ordered[low] == -math.inf:  # a difference of infinities is no number
        return ordered[low]
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


class AsyncHyperBandScheduler(FIFOScheduler):
    """Stops a trial at a rung unless it is among the best 1/`reduction_factor` of those that came there before.

    Rungs are at `grace_period`, and at its products with powers of `reduction_factor`, below `max_t`.

    Parameters: `time_attr` is what rungs and `max_t` count, "training_iteration" (reports) or a metric that grows.
    `metric` and `mode` ("max" or "min") say what is best. A trial runs for at least `grace_period` and at most `max_t`.
    `brackets` have each one rung less at the bottom; trials are dealt to them, more to the lower ones. With
    `stop_last_trials=False` a trial that reaches `max_t` goes on.
    Raises ConfigError for what cannot be.

    Example: `ASHAScheduler(metric="accuracy", mode="max", max_t=81, grace_period=1, reduction_factor=3)`
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        stop_last_trials: bool = True,
    ) -> None:
        if not max_t > 0:
            raise ConfigError(f"max_t must be more than 0, not {max_t}")
        if not grace_period > 0:
            raise ConfigError(f"grace_period must be more than 0, not {grace_period}")
        if not max_t >= grace_period:
            raise ConfigError(f"max_t={max_t} must be at least grace_period={grace_period}")
        if not reduction_factor > 1:
            raise ConfigError(f"reduction_factor must be more than 1, not {reduction_factor}")
        if brackets < 1:
            raise ConfigError(f"brackets must be at least 1, not {brackets}")
        check_mode(mode)
        self.metric = metric
        self.mode = mode
        self.time_attr = time_attr
        self._max_t = max_t
        self._factor = reduction_factor
        self._stop_last = stop_last_trials
        self._brackets = [
            _Bracket(grace_period, max_t, reduction_factor, shift, stop_last_trials)
            for shift in range(brackets)
        ]
        self._bracket_of: dict[str, int] = {}
        self._dealt = [0] * brackets
        self.num_stopped = 0

    @property
    def needs_every_report(self) -> bool:
        """True: at rungs a trial waits for the decision."""
        return True

    def on_trial_add(self, tune_controller: TrialView, trial: Trial) -> None:
        """Deal the trial to a bracket. Raises ConfigError without a metric or mode."""
        if not self.metric or not self.mode:
            raise ConfigError(
                f"{type(self).__name__} needs metric and mode: give them to it or to TuneConfig"
            )
        # Each bracket's share is as its first rung is small; dealt by what is missing most, so that no chance is in it.
        weights = [self._factor**-index for index in range(len(self._brackets))]
        total = sum(weights)
        made = sum(self._dealt) + 1
        index = max(range(len(weights)), key=lambda each: made * weights[each] / total - self._dealt[each])
        self._dealt[index] += 1
        self._bracket_of[trial.trial_id] = index

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """Stop the trial at `max_t`, or at a rung where it is not among the best."""
        score = self.score(result)
        time = result.get(self.time_attr)
        if time is None:
            return self.CONTINUE
        bracket = self._brackets[self._bracket_of[trial.trial_id]]
        if time >= self._max_t and self._stop_last:
            bracket.on_result(trial.trial_id, time, score)
            self.num_stopped += 1
            return self.STOP
        if bracket.on_result(trial.trial_id, time, score):
            return self.CONTINUE
        self.num_stopped += 1
        return self.STOP

    def on_trial_complete(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> None:
        """Note the last report too: it counts where the trial came to a rung with it."""
        if self.metric in result and self.time_attr in result:
            self._brackets[self._bracket_of[trial.trial_id]].on_result(
                trial.trial_id, result[self.time_attr], self.score(result)
            )

    def on_trial_remove(self, tune_controller: TrialView, trial: Trial) -> None:
        """Forget which bracket the trial was in."""
        self._bracket_of.pop(trial.trial_id, None)

    def debug_string(self) -> str:
        """Return how many trials came to each rung."""
        lines = "\n".join(f"Bracket: {bracket.debug()}" for bracket in self._brackets)
        return f"Using AsyncHyperBand: num_stopped={self.num_stopped}\n{lines}"


ASHAScheduler = AsyncHyperBandScheduler
