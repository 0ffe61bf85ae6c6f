"""What an experiment checks and learns before it begins."""

from __future__ import annotations

import os
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.analysis import ExperimentAnalysis
from shoal.tune.search.search_generator import SearchGenerator
from shoal.tune.stopper import CombinedStopper, Stopper, TimeoutStopper

__all__ = ["learn", "refuse_clocks"]

_CLOCKS = ("time_total_s", "time_this_iter_s", "time_since_restore", "timestamp")


def refuse_clocks(scheduler: Any, stopper: Stopper) -> None:
    """Raise ConfigError for what decides by time, where decisions must not depend on it.

    Example: `refuse_clocks(ASHAScheduler(time_attr="epoch"), NoopStopper())`
    """
    inner = getattr(scheduler, "base_scheduler", scheduler)
    attr = getattr(inner, "time_attr", getattr(inner, "_time_attr", None))
    if attr in _CLOCKS:
        raise ConfigError(
            f"{type(inner).__name__} counts {attr!r}, which depends on time: with deterministic=True give "
            "time_attr='training_iteration' or a metric of yours"
        )
    parts = stopper.parts if isinstance(stopper, CombinedStopper) else (stopper,)
    if any(isinstance(each, TimeoutStopper) for each in parts):
        raise ConfigError("a TimeoutStopper depends on time: it does not go with deterministic=True")


def learn(source: Any, past: Any, metric: str | None) -> None:
    """Tell a searcher of past experiments' trials. Raises ConfigError if it does not learn, and for no experiment.

    Example: `learn(SearchGenerator(OptunaSearch()), "~/shoal_results/search", "loss")`
    """
    if not isinstance(source, SearchGenerator):
        raise ConfigError(
            "warm_start is for searchers that learn, such as OptunaSearch: grids and chance learn nothing"
        )
    wanted = metric or source.searcher.metric
    if not isinstance(wanted, str):
        raise ConfigError(f"warm_start needs one metric, not {describe(wanted)}")
    for each in past if isinstance(past, (list, tuple)) else [past]:
        found = getattr(each, "_analysis", each)  # of a ResultGrid
        if isinstance(found, (str, os.PathLike)):
            try:
                found = ExperimentAnalysis(os.path.expanduser(os.fspath(found)))
            except FileNotFoundError as error:
                raise ConfigError(f"warm_start: {error}") from error
        if not isinstance(found, ExperimentAnalysis):
            raise ConfigError(f"warm_start takes experiments' folders or results, not {describe(each)}")
        source.searcher.add_evaluated_trials(found, wanted)
