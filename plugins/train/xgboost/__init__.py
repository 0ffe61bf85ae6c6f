"""Training with XGBoost, by its own distributed learning. xgboost is imported when something needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.xgboost.backend import XGBoostConfig
    from shoal.train.xgboost.callback import ReportCallback
    from shoal.train.xgboost.checkpoint import XGBoostCheckpoint
    from shoal.train.xgboost.trainer import XGBoostTrainer

__all__ = [
    "ReportCallback",
    "XGBoostCheckpoint",
    "XGBoostConfig",
    "XGBoostTrainer",
]

_HOMES = {
    "shoal.train.xgboost.backend": ("XGBoostConfig",),
    "shoal.train.xgboost.checkpoint": ("XGBoostCheckpoint",),
    "shoal.train.xgboost.callback": ("ReportCallback",),
    "shoal.train.xgboost.trainer": ("XGBoostTrainer",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
