"""The socket for schedulers: what decides, at each report, whether a trial goes on; and what runs next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from shoal.errors import ConfigError, describe
from shoal.tune.experiment.trial import Trial
from shoal.tune.modes import check_mode

__all__ = ["FIFOScheduler", "TrialScheduler", "TrialView"]


class TrialView(Protocol):
    """What a scheduler sees of the experiment, and may ask of it."""

    def get_trials(self) -> list[Trial]:
        """Return all trials, in the order they were made."""
        ...

    def get_live_trials(self) -> Iterable[Trial]:
        """Return the trials that have not ended."""
        ...

    def waiting(self, status: str) -> Iterable[Trial]:
        """Return the trials that are PENDING or PAUSED, in the order they became it."""
        ...

    def stop_trial(self, trial: Trial) -> None:
        """End a trial, whatever it does."""
        ...

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Have a running trial paused at its next report."""
        ...

    def save_trial(self, trial: Trial) -> None:
        """Have a trial save a checkpoint with its present report, if it can."""
        ...

    def cluster_resources(self) -> dict[str, float]:
        """Return what the nodes have in all, as it was seen last."""
        ...

    def resources_of_trial(self, trial: Trial) -> Any:
        """Return what a trial gets, as a PlacementGroupFactory."""
        ...


class TrialScheduler:
    """Decides, at each report of a trial, whether it goes on, and which trial runs next.

    It is called by the experiment's controller, in one thread; the methods return at once, without I/O or clocks, and
    take what they need from reports. It is pickled with the experiment's state. `tune_controller` is a TrialView.
    """

    CONTINUE = "CONTINUE"  # go on
    PAUSE = "PAUSE"  # give the place to another trial, and go on later from a checkpoint
    STOP = "STOP"  # end
    NOOP = "NOOP"  # nothing changes: the trial was dealt with

    metric: str | None = None
    mode: str | None = None
    time_attr: str = "training_iteration"

    @property
    def supports_buffered_results(self) -> bool:
        """Whether reports may come several at once."""
        return True

    @property
    def needs_every_report(self) -> bool:
        """Whether a trial has to wait for a decision after each report; without, it runs through."""
        return True

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take the experiment's metric and mode. Return False if there are others already.

        Raises ConfigError for another mode than "max" and "min".
        """
        if self.metric and metric:
            return False
        if self.mode and mode and self.mode != mode:
            return False
        check_mode(mode)
        self.metric = metric or self.metric
        self.mode = mode or self.mode
        return True

    def on_trial_add(self, tune_controller: TrialView, trial: Trial) -> None:
        """Know of a new trial."""

    def on_trial_error(self, tune_controller: TrialView, trial: Trial) -> None:
        """Know that a trial has failed for good."""

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """Decide about a trial that has reported: CONTINUE, PAUSE, STOP or NOOP."""
        return self.CONTINUE

    def on_trial_complete(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> None:
        """Know that a trial has ended by itself, or by a stopper."""

    def on_trial_remove(self, tune_controller: TrialView, trial: Trial) -> None:
        """Know that a trial that was not running is gone."""

    def choose_trial_to_run(self, tune_controller: TrialView) -> Trial | None:
        """Return the next trial to run, of those that wait; None for none now."""
        for status in (Trial.PENDING, Trial.PAUSED):
            for trial in tune_controller.waiting(status):
                return trial
        return None

    def files(self) -> dict[str, str]:
        """Return texts that are to lie in the experiment's folder, by name."""
        return {}

    def debug_string(self) -> str:
        """Return what it does, in a line."""
        return f"Using {type(self).__name__}."

    def save(self, checkpoint_path: str) -> None:
        """Store its state in a file."""
        import cloudpickle

        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(self.__dict__, file)

    def restore(self, checkpoint_path: str) -> None:
        """Go on from a file that `save` wrote, which must be of this program: it is pickled."""
        import cloudpickle

        with open(checkpoint_path, "rb") as file:
            self.__dict__.update(cloudpickle.load(file))

    def score(self, result: Mapping[str, Any]) -> float:
        """Return a report's metric so that more is better; what is no number is worst.

        Raises ConfigError naming the metrics that were reported instead.
        """
        if self.metric is None or self.mode is None:
            raise ConfigError(
                f"{type(self).__name__} needs metric and mode: give them to it or to TuneConfig"
            )
        if self.metric not in result:
            raise ConfigError(missing_metric(self.metric, result))
        try:
            value = float(result[self.metric])
        except (TypeError, ValueError):
            raise ConfigError(
                f"the metric {self.metric!r} must be a number, not {describe(result[self.metric])}"
            ) from None
        if math.isnan(value):
            return -math.inf
        return value if self.mode == "max" else -value


class FIFOScheduler(TrialScheduler):
    """Runs trials in order, each to its end."""

    @property
    def needs_every_report(self) -> bool:
        """False: every trial goes on."""
        return False


def missing_metric(metric: str, result: Mapping[str, Any]) -> str:
    """Return what to say of a metric that is not among those reported.

    Example: `missing_metric("acuracy", {"accuracy": 0.5})`
    """
    import difflib

    own = sorted(name for name in result if name not in AUTO)
    close = difflib.get_close_matches(metric, own, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"the metric {metric!r} was not reported; reported were: {', '.join(own) or 'none'}.{hint}"


AUTO = frozenset(
    {
        "config",
        "date",
        "done",
        "experiment_tag",
        "hostname",
        "iterations_since_restore",
        "node_ip",
        "pid",
        "time_since_restore",
        "time_this_iter_s",
        "time_total_s",
        "timestamp",
        "training_iteration",
        "trial_id",
    }
)
