"""Training with JAX, by jax.distributed. jax is imported when something needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.jax.backend import JaxConfig
    from shoal.train.jax.trainer import JaxTrainer

__all__ = [
    "JaxConfig",
    "JaxTrainer",
]

_HOMES = {
    "shoal.train.jax.backend": ("JaxConfig",),
    "shoal.train.jax.trainer": ("JaxTrainer",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
