"""Lightning in a training function: strategies, an environment and a callback. lightning is imported when needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.lightning.callback import ReportCallback, prepare_trainer
    from shoal.train.lightning.strategies import (
        DDPStrategy,
        DeepSpeedStrategy,
        FSDPStrategy,
        LightningEnvironment,
    )

__all__ = [
    "DDPStrategy",
    "DeepSpeedStrategy",
    "FSDPStrategy",
    "LightningEnvironment",
    "ReportCallback",
    "prepare_trainer",
]

_HOMES = {
    "shoal.train.lightning.strategies": (
        "DDPStrategy",
        "DeepSpeedStrategy",
        "FSDPStrategy",
        "LightningEnvironment",
    ),
    "shoal.train.lightning.callback": (
        "ReportCallback",
        "prepare_trainer",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
