"""Training with Horovod: the launcher's contract, so that `horovod.torch.init()` finds the other ranks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.horovod.backend import HorovodConfig
    from shoal.train.horovod.trainer import HorovodTrainer

__all__ = ["HorovodConfig", "HorovodTrainer"]

_HOME_OF = {
    "HorovodConfig": "shoal.train.horovod.backend",
    "HorovodTrainer": "shoal.train.horovod.trainer",
}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
