"""Algorithms and their configurations. Names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shoal.rllib.algorithms.algorithm import Algorithm
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.ppo import PPO, PPOConfig

if TYPE_CHECKING:
    from shoal.rllib.algorithms.appo import APPO, APPOConfig
    from shoal.rllib.algorithms.bc import BC, BCConfig
    from shoal.rllib.algorithms.cql import CQL, CQLConfig
    from shoal.rllib.algorithms.dqn import DQN, DQNConfig
    from shoal.rllib.algorithms.dreamerv3 import DreamerV3, DreamerV3Config
    from shoal.rllib.algorithms.impala import IMPALA, IMPALAConfig
    from shoal.rllib.algorithms.iql import IQL, IQLConfig
    from shoal.rllib.algorithms.marwil import MARWIL, MARWILConfig
    from shoal.rllib.algorithms.sac import SAC, SACConfig

__all__ = [
    "APPO",
    "BC",
    "CQL",
    "DQN",
    "IMPALA",
    "IQL",
    "MARWIL",
    "PPO",
    "SAC",
    "APPOConfig",
    "Algorithm",
    "AlgorithmConfig",
    "BCConfig",
    "CQLConfig",
    "DQNConfig",
    "DreamerV3",
    "DreamerV3Config",
    "IMPALAConfig",
    "IQLConfig",
    "MARWILConfig",
    "PPOConfig",
    "SACConfig",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{name.removesuffix('Config').lower()}")
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
