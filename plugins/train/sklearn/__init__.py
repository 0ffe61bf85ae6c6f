"""Training with scikit-learn: an estimator, and its cross-validation on many workers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.sklearn.checkpoint import SklearnCheckpoint
    from shoal.train.sklearn.trainer import SklearnTrainer

__all__ = ["SklearnCheckpoint", "SklearnTrainer"]

_HOME_OF = {
    "SklearnCheckpoint": "shoal.train.sklearn.checkpoint",
    "SklearnTrainer": "shoal.train.sklearn.trainer",
}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
