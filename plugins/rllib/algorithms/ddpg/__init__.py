"""Deep deterministic policy gradients."""

from __future__ import annotations

from shoal.rllib.algorithms.ddpg.config import DDPGConfig
from shoal.rllib.algorithms.ddpg.ddpg import DDPG

DDPGConfig.algo_class = DDPG

__all__ = ["DDPG", "DDPGConfig"]
