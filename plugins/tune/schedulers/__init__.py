"""What decides which trials go on: schedulers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.tune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
    from shoal.tune.schedulers.hb_bohb import HyperBandForBOHB
    from shoal.tune.schedulers.hyperband import HyperBandScheduler
    from shoal.tune.schedulers.median_stopping_rule import MedianStoppingRule
    from shoal.tune.schedulers.pb2 import PB2
    from shoal.tune.schedulers.pbt import PopulationBasedTraining, PopulationBasedTrainingReplay
    from shoal.tune.schedulers.plugins import create_scheduler
    from shoal.tune.schedulers.resource_changing_scheduler import ResourceChangingScheduler
    from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler, TrialView

__all__ = [
    "PB2",
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
    "TrialScheduler",
    "TrialView",
    "create_scheduler",
]

_HOMES = {
    "shoal.tune.schedulers.async_hyperband": ("ASHAScheduler", "AsyncHyperBandScheduler"),
    "shoal.tune.schedulers.hb_bohb": ("HyperBandForBOHB",),
    "shoal.tune.schedulers.hyperband": ("HyperBandScheduler",),
    "shoal.tune.schedulers.median_stopping_rule": ("MedianStoppingRule",),
    "shoal.tune.schedulers.pb2": ("PB2",),
    "shoal.tune.schedulers.pbt": ("PopulationBasedTraining", "PopulationBasedTrainingReplay"),
    "shoal.tune.schedulers.plugins": ("create_scheduler",),
    "shoal.tune.schedulers.resource_changing_scheduler": ("ResourceChangingScheduler",),
    "shoal.tune.schedulers.trial_scheduler": ("FIFOScheduler", "TrialScheduler", "TrialView"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
