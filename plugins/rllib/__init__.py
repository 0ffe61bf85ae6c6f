"""Reinforcement learning: algorithms that sample environments by actors and learn from what they see.

Written on the public API alone. Names are imported when they are first used; they need the extra `rllib`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.rllib.algorithms.algorithm import Algorithm
    from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
    from shoal.rllib.environments import register_env

__all__ = ["Algorithm", "AlgorithmConfig", "register_env"]

_HOME_OF = {
    "Algorithm": "shoal.rllib.algorithms.algorithm",
    "AlgorithmConfig": "shoal.rllib.algorithms.algorithm_config",
    "register_env": "shoal.rllib.environments",
}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal.rllib' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
