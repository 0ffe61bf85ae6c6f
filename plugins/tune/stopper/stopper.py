"""What ends trials, and whole experiments: called with each report."""

from __future__ import annotations

import datetime
import inspect
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from statistics import pstdev
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.modes import check_mode


class Stopper:
    """Ends trials. It is called with each report, and is pickled with the experiment's state.

    Example: `RunConfig(stop=MyStopper())`
    """

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return whether the trial that has reported this ends."""
        raise NotImplementedError(f"{type(self).__name__} has no method __call__")

    def stop_all(self) -> bool:
        """Return whether the whole experiment ends."""
        raise NotImplementedError(f"{type(self).__name__} has no method stop_all")


class NoopStopper(Stopper):
    """Ends nothing."""

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return False."""
        return False

    def stop_all(self) -> bool:
        """Return False."""
        return False


class DictStopper(Stopper):
    """Ends a trial when a metric has reached a value.

    Parameters: `criteria` are metrics with values; "a/b" is a metric within a metric.

    Example: `DictStopper({"accuracy": 0.9, "training_iteration": 100})`
    """

    def __init__(self, criteria: Mapping[str, float]) -> None:
        given: Mapping[Any, Any] = criteria
        for name, bound in given.items():
            if not isinstance(name, str) or not isinstance(bound, (int, float)):
                raise ConfigError(f"stop must have metrics with numbers, not {name!r}: {describe(bound)}")
        self.criteria = dict(criteria)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return whether one of the metrics has reached its value."""
        return any(
            (value := _look_up(result, name)) is not None and value >= bound
            for name, bound in self.criteria.items()
        )

    def stop_all(self) -> bool:
        """Return False."""
        return False


def _look_up(result: Mapping[str, Any], name: str) -> Any:
    if name in result:
        return result[name]
    found: Any = result
    for part in name.split("/"):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


class FunctionStopper(Stopper):
    """Ends a trial when a function of its name and report says so. Raises ConfigError for what is no such function.

    Example: `FunctionStopper(lambda trial_id, result: result["loss"] < 0.1)`
    """

    def __init__(self, function: Callable[[str, Mapping[str, Any]], bool]) -> None:
        self._takes = self._arguments(function)
        self._function = function

    @staticmethod
    def _arguments(function: Any) -> int:
        if not callable(function):
            raise ConfigError(f"stop must be a function, not {describe(function)}")
        try:
            inspect.signature(function).bind("trial", {})
        except TypeError:
            try:
                inspect.signature(function).bind({})
            except TypeError:
                raise ConfigError(
                    "stop= takes a function of (trial_id, result), or of the metrics alone"
                ) from None
            return 1
        except ValueError:  # of C
            return 2
        return 2

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return what the function says."""
        function: Any = self._function
        return bool(function(trial_id, result) if self._takes == 2 else function(result))

    def stop_all(self) -> bool:
        """Return False."""
        return False

    @classmethod
    def is_valid_function(cls, fn: Any) -> bool:
        """Return whether something can be such a function."""
        return callable(fn) and not isinstance(fn, Stopper)


class MaximumIterationStopper(Stopper):
    """Ends each trial after so many reports.

    Example: `MaximumIterationStopper(20)`
    """

    def __init__(self, max_iter: int) -> None:
        if max_iter < 1:
            raise ConfigError(f"max_iter must be at least 1, not {max_iter}")
        self._max_iter = max_iter
        self._seen: dict[str, int] = defaultdict(int)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Count a report."""
        self._seen[trial_id] += 1
        return self._seen[trial_id] >= self._max_iter

    def stop_all(self) -> bool:
        """Return False."""
        return False


class TimeoutStopper(Stopper):
    """Ends everything after so much time, counted over all runs of a restored experiment.

    Parameters: `timeout` is in seconds, or a timedelta.

    Example: `TimeoutStopper(600)`
    """

    def __init__(self, timeout: float | datetime.timedelta) -> None:
        seconds = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else float(timeout)
        if not seconds >= 0:
            raise ConfigError(f"timeout must be at least 0 seconds, not {timeout}")
        self._budget = seconds
        self._began: float | None = None

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Begin to count, at the first report."""
        if self._began is None:
            self._began = time.monotonic()
        return False

    def stop_all(self) -> bool:
        """Return whether the time is over; the first call begins to count."""
        if self._began is None:
            self._began = time.monotonic()
        return time.monotonic() - self._began >= self._budget

    def __getstate__(self) -> dict[str, Any]:
        gone = 0.0 if self._began is None else time.monotonic() - self._began
        return {"_budget": self._budget - gone, "_began": None}


class TrialPlateauStopper(Stopper):
    """Ends a trial whose metric does not move any more.

    Parameters: `std` is the standard deviation over the last `num_results` reports at which it ends, after at least
    `grace_period` reports. With `metric_threshold` and `mode` it must also be above it ("max") or below it ("min").

    Example: `TrialPlateauStopper("loss", std=0.001, num_results=5)`
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        if metric_threshold is not None and mode not in ("min", "max"):
            raise ConfigError(f"with metric_threshold mode must be 'max' or 'min', not {mode!r}")
        if num_results < 1:
            raise ConfigError(f"num_results must be at least 1, not {num_results}")
        self._metric = metric
        self._std = std
        self._num_results = num_results
        self._grace_period = grace_period
        self._threshold = metric_threshold
        self._mode = mode
        self._seen: dict[str, int] = defaultdict(int)
        self._values: dict[str, deque[float]] = {}

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Note a report."""
        value = result.get(self._metric)
        if value is None:
            return False
        values = self._values.setdefault(trial_id, deque(maxlen=self._num_results))
        values.append(float(value))
        self._seen[trial_id] += 1
        if self._seen[trial_id] < self._grace_period or len(values) < self._num_results:
            return False
        if self._threshold is not None:
            beyond = value >= self._threshold if self._mode == "max" else value <= self._threshold
            if not beyond:
                return False
        return all(map(math.isfinite, values)) and pstdev(values) < self._std

    def stop_all(self) -> bool:
        """Return False."""
        return False


class ExperimentPlateauStopper(Stopper):
    """Ends the experiment when its best trials do not get better any more.

    Parameters: `std` is the standard deviation among the `top` best values of `metric` at which it ends, once that was
    so for `patience` reports more. `mode` is "max" or "min".

    Example: `ExperimentPlateauStopper("loss", mode="min", top=5, patience=10)`
    """

    def __init__(
        self, metric: str, std: float = 0.001, top: int = 10, mode: str = "min", patience: int = 0
    ) -> None:
        check_mode(mode, optional=False)
        if patience < 0:
            raise ConfigError(f"patience must be at least 0, not {patience}")
        if top <= 1:
            raise ConfigError(f"top must be at least 2, not {top}")
        if not std > 0:
            raise ConfigError(f"std must be more than 0, not {std}")
        self._metric = metric
        self._std = std
        self._top = top
        self._mode = mode
        self._patience = patience
        self._best: list[float] = []
        self._still = 0

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Note a report."""
        value = result.get(self._metric)
        if value is None or not math.isfinite(value):
            return False
        self._best.append(float(value))
        self._best.sort(reverse=self._mode == "max")
        del self._best[self._top :]
        self._still = self._still + 1 if self.has_plateaued() else 0
        return self.stop_all()

    def has_plateaued(self) -> bool:
        """Return whether the best values are as near to each other as `std` says."""
        return len(self._best) == self._top and pstdev(self._best) <= self._std

    def stop_all(self) -> bool:
        """Return whether the best have stood still for long enough."""
        return self.has_plateaued() and self._still >= self._patience


class CombinedStopper(Stopper):
    """Ends what one of several stoppers ends.

    Example: `CombinedStopper(MaximumIterationStopper(20), TimeoutStopper(600))`
    """

    def __init__(self, *stoppers: Stopper) -> None:
        self._stoppers = stoppers

    @property
    def parts(self) -> tuple[Stopper, ...]:
        """The stoppers that it is made of."""
        return self._stoppers

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Ask all of them."""
        return True in [stopper(trial_id, result) for stopper in self._stoppers]

    def stop_all(self) -> bool:
        """Ask all of them."""
        return True in [stopper.stop_all() for stopper in self._stoppers]


def stopper_of(stop: Any) -> Stopper:
    """Return a stopper of what `RunConfig.stop` may be. Raises ConfigError for what it may not.

    Example: `stopper_of({"accuracy": 0.9})`
    """
    if stop is None:
        return NoopStopper()
    if isinstance(stop, Stopper):
        return stop
    if isinstance(stop, Mapping):
        return DictStopper(stop)
    if isinstance(stop, (list, tuple)):
        return CombinedStopper(*map(stopper_of, stop))
    return FunctionStopper(stop)
