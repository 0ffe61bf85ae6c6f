"""The median stopping rule (Golovin et al., 2017, "Google Vizier")."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from statistics import median
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.experiment.trial import Trial
from shoal.tune.modes import check_mode
from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialView

__all__ = ["MedianStoppingRule"]


class MedianStoppingRule(FIFOScheduler):
    """Stops a trial whose best score so far is below the median of the other trials' running means at the same time.

    Parameters: `time_attr` is what time is ("time_total_s"), `metric` and `mode` ("max" or "min") what is best. A trial
    runs for at least `grace_period`; the median needs `min_samples_required` other trials that came as far. A trial is
    judged every `min_time_slice` at most. With `hard_stop=False` it is paused instead, and goes on when there is room.
    Raises ConfigError.

    Example: `MedianStoppingRule(time_attr="training_iteration", metric="accuracy", mode="max", grace_period=5)`
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: float = 0,
        hard_stop: bool = True,
    ) -> None:
        check_mode(mode)
        if min_samples_required < 1:
            raise ConfigError(f"min_samples_required must be at least 1, not {min_samples_required}")
        if grace_period < 0 or min_time_slice < 0:
            raise ConfigError("grace_period and min_time_slice must be at least 0")
        self.metric = metric
        self.mode = mode
        self.time_attr = time_attr
        self._grace = grace_period
        self._needed = min_samples_required
        self._slice = min_time_slice
        self._hard = hard_stop
        self._times: dict[str, list[float]] = {}
        self._sums: dict[str, list[float]] = {}  # of scores, up to each of the times
        self._best: dict[str, float] = {}
        self._judged: dict[str, float] = {}
        self.stopped: set[str] = set()

    @property
    def needs_every_report(self) -> bool:
        """True: any report may be the last."""
        return True

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """Stop the trial if its best score is below the median of the others' means."""
        score = self.score(result)
        time = result.get(self.time_attr)
        if time is None:
            return self.CONTINUE
        name = trial.trial_id
        sums = self._sums.setdefault(name, [])
        sums.append(score + (sums[-1] if sums else 0.0))
        self._times.setdefault(name, []).append(time)
        self._best[name] = max(score, self._best.get(name, score))
        if time < self._grace or time - self._judged.get(name, -self._slice) < self._slice:
            return self.CONTINUE
        self._judged[name] = time
        means = [
            mean for other in self._times if other != name and (mean := self._mean(other, time)) is not None
        ]
        if len(means) < self._needed or self._best[name] >= median(means):
            return self.CONTINUE
        if not self._hard:
            return self.PAUSE
        self.stopped.add(name)
        return self.STOP

    def _mean(self, trial_id: str, until: float) -> float | None:
        """Return a trial's mean score up to a time, None if it has not come to it and may still."""
        times = self._times[trial_id]
        if times[-1] < self._grace:
            return None
        count = bisect_right(times, until)
        return self._sums[trial_id][count - 1] / count if count else None

    def debug_string(self) -> str:
        """Return how many were stopped."""
        return f"Using MedianStoppingRule: num_stopped={len(self.stopped)}."
