"""Training with LightGBM, by its own distributed learning. lightgbm is imported when something needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.lightgbm.backend import LightGBMConfig, get_network_params
    from shoal.train.lightgbm.callback import ReportCallback
    from shoal.train.lightgbm.checkpoint import LightGBMCheckpoint
    from shoal.train.lightgbm.trainer import LightGBMTrainer, normalize_pandas_for_lightgbm

__all__ = [
    "LightGBMCheckpoint",
    "LightGBMConfig",
    "LightGBMTrainer",
    "ReportCallback",
    "get_network_params",
    "normalize_pandas_for_lightgbm",
]

_HOMES = {
    "shoal.train.lightgbm.backend": (
        "LightGBMConfig",
        "get_network_params",
    ),
    "shoal.train.lightgbm.checkpoint": ("LightGBMCheckpoint",),
    "shoal.train.lightgbm.callback": ("ReportCallback",),
    "shoal.train.lightgbm.trainer": (
        "LightGBMTrainer",
        "normalize_pandas_for_lightgbm",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
