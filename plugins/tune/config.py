"""How an experiment is set up."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.config import CheckpointConfig, FailureConfig, RunConfig, SyncConfig

if TYPE_CHECKING:
    from shoal.tune.experiment.trial import Trial

__all__ = ["CheckpointConfig", "FailureConfig", "ResumeConfig", "RunConfig", "SyncConfig", "TuneConfig"]

_MODES = ("max", "min")


def _seconds(value: Any) -> float | None:
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


@attrs.frozen
class TuneConfig:
    """How configurations are chosen, and which trials go on.

    Parameters: `metric` is what is looked at and `mode` whether "max" or "min" is best; both may be lists, for
    searchers of several objectives. `search_alg` chooses configurations (grids and chance if None), `scheduler` which
    trials go on (all by default); both may be names of plugins. `num_samples` is how many configurations are drawn, of
    each combination of grids (−1: without end). `max_concurrent_trials` run at once at most (None: as many as fit).
    `time_budget_s` ends the experiment. `reuse_actors` says whether trials follow each other in one process (None: as
    long as they are short; a class must have `reset_config` for it). `trial_name_creator` and `trial_dirname_creator`
    name a trial and its folder. `chdir_to_trial_dir` has each trial run in its folder. `seed` makes the same
    configurations again, and seeds random numbers in trials. With `deterministic` the same seed (0 if there is none)
    gives the same decisions too, however long things take: trials report in turns, each waiting for the others, and as
    many must run at once (`max_concurrent_trials`). `warm_start` is what the searcher learns from before it begins: a
    past experiment (its folder, its results or its ExperimentAnalysis), or a list of them.
    Raises ConfigError.

    Example: `TuneConfig(metric="loss", mode="min", num_samples=20)`
    """

    mode: str | Sequence[str] | None = None
    metric: str | Sequence[str] | None = None
    search_alg: Any = None
    scheduler: Any = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: float | None = attrs.field(default=None, converter=_seconds)
    reuse_actors: bool | None = None
    trial_name_creator: Callable[[Trial], str] | None = None
    trial_dirname_creator: Callable[[Trial], str] | None = None
    chdir_to_trial_dir: bool = True
    seed: int | None = attrs.field(default=None, kw_only=True)
    deterministic: bool = attrs.field(default=False, kw_only=True)
    warm_start: Any = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        modes = [self.mode] if isinstance(self.mode, str) or self.mode is None else list(self.mode)
        for mode in modes:
            if mode is not None and mode not in _MODES:
                raise ConfigError(f"mode must be 'max' or 'min', not {describe(mode)}")
        metrics = [self.metric] if isinstance(self.metric, str) or self.metric is None else list(self.metric)
        if len(metrics) != len(modes) and self.mode is not None and self.metric is not None:
            raise ConfigError(
                f"there are {len(metrics)} metrics but {len(modes)} modes: give one mode for each"
            )
        samples: Any = self.num_samples
        if not isinstance(samples, int) or isinstance(samples, bool) or (samples < 1 and samples != -1):
            raise ConfigError(
                f"num_samples must be at least 1, or -1 for no end, not {describe(self.num_samples)}"
            )
        limit: Any = self.max_concurrent_trials
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise ConfigError(f"max_concurrent_trials must be at least 1, not {describe(limit)}")
        if self.deterministic and self.time_budget_s is not None:
            raise ConfigError("time_budget_s depends on time: it does not go with deterministic=True")
        budget: Any = self.time_budget_s
        if budget is not None and (not isinstance(budget, (int, float)) or not budget > 0):
            raise ConfigError(f"time_budget_s must be more than 0 seconds, not {describe(budget)}")


@attrs.frozen
class ResumeConfig:
    """What becomes of trials when an experiment is restored: SKIP, RESUME (from a checkpoint) or RESTART.

    Example: `ResumeConfig(errored=ResumeConfig.ResumeType.RESTART)`
    """

    class ResumeType(str, enum.Enum):
        """What becomes of a trial."""

        SKIP = "SKIP"
        RESUME = "RESUME"
        RESTART = "RESTART"

    finished: str = "SKIP"
    unfinished: str = "RESUME"
    errored: str = "SKIP"

    def __attrs_post_init__(self) -> None:
        for name in ("finished", "unfinished", "errored"):
            if getattr(self, name) not in ("SKIP", "RESUME", "RESTART"):
                raise ConfigError(
                    f"{name} must be SKIP, RESUME or RESTART, not {describe(getattr(self, name))}"
                )
