"""What decides which trials go on: schedulers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.tune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
    from shoal.tune.schedulers.plugins import create_scheduler
    from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler, TrialView

__all__ = [
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "TrialScheduler",
    "TrialView",
    "create_scheduler",
]

_HOMES = {
    "shoal.tune.schedulers.async_hyperband": ("ASHAScheduler", "AsyncHyperBandScheduler"),
    "shoal.tune.schedulers.plugins": ("create_scheduler",),
    "shoal.tune.schedulers.trial_scheduler": ("FIFOScheduler", "TrialScheduler", "TrialView"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
