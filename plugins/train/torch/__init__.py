"""Training with PyTorch. torch is imported when something needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.torch.backend import TorchConfig
    from shoal.train.torch.checkpoint import TorchCheckpoint
    from shoal.train.torch.devices import get_device, get_devices
    from shoal.train.torch.loop import (
        accelerate,
        backward,
        enable_reproducibility,
        prepare_data_loader,
        prepare_model,
        prepare_optimizer,
        profiled,
    )
    from shoal.train.torch.parallel import context_parallel, get_data_mesh, get_device_mesh
    from shoal.train.torch.trainer import TorchTrainer

__all__ = [
    "TorchCheckpoint",
    "TorchConfig",
    "TorchTrainer",
    "accelerate",
    "backward",
    "context_parallel",
    "enable_reproducibility",
    "get_data_mesh",
    "get_device",
    "get_device_mesh",
    "get_devices",
    "prepare_data_loader",
    "prepare_model",
    "prepare_optimizer",
    "profiled",
]

_HOMES = {
    "shoal.train.torch.backend": ("TorchConfig",),
    "shoal.train.torch.checkpoint": ("TorchCheckpoint",),
    "shoal.train.torch.devices": ("get_device", "get_devices"),
    "shoal.train.torch.loop": (
        "accelerate",
        "backward",
        "enable_reproducibility",
        "prepare_data_loader",
        "prepare_model",
        "prepare_optimizer",
        "profiled",
    ),
    "shoal.train.torch.parallel": ("context_parallel", "get_data_mesh", "get_device_mesh"),
    "shoal.train.torch.trainer": ("TorchTrainer",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
