"""Deep deterministic policy gradients of several agents."""

from __future__ import annotations

from shoal.rllib.algorithms.maddpg.config import MADDPGConfig
from shoal.rllib.algorithms.maddpg.maddpg import MADDPG

MADDPGConfig.algo_class = MADDPG

__all__ = ["MADDPG", "MADDPGConfig"]
