"""Training with TensorFlow, by its own strategies. tensorflow is imported when something needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.tensorflow.backend import TensorflowConfig
    from shoal.train.tensorflow.checkpoint import TensorflowCheckpoint
    from shoal.train.tensorflow.trainer import TensorflowTrainer, prepare_dataset_shard

__all__ = [
    "TensorflowCheckpoint",
    "TensorflowConfig",
    "TensorflowTrainer",
    "prepare_dataset_shard",
]

_HOMES = {
    "shoal.train.tensorflow.backend": ("TensorflowConfig",),
    "shoal.train.tensorflow.trainer": (
        "TensorflowTrainer",
        "prepare_dataset_shard",
    ),
    "shoal.train.tensorflow.checkpoint": ("TensorflowCheckpoint",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
