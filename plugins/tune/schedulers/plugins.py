"""Schedulers by name: those that are installed."""

from __future__ import annotations

from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

__all__ = ["create_scheduler", "scheduler_of"]


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Return a scheduler by its name. Raises PluginNotFound naming those that there are.

    Parameters: `kwargs` are the scheduler's own.

    Example: `tune.create_scheduler("asha", max_t=81)`
    """
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import TUNE_SCHEDULERS

    made: TrialScheduler = load_driver(TUNE_SCHEDULERS, scheduler)(**kwargs)
    return made


def scheduler_of(given: Any) -> TrialScheduler:
    """Return a scheduler, of what `TuneConfig.scheduler` may be. Raises ConfigError."""
    if given is None:
        return FIFOScheduler()
    if isinstance(given, str):
        return create_scheduler(given)
    if isinstance(given, TrialScheduler):
        return given
    raise ConfigError(f"scheduler must be a TrialScheduler or a scheduler's name, not {describe(given)}")
