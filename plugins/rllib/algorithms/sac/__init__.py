"""Soft actor-critic."""

from __future__ import annotations

from shoal.rllib.algorithms.sac.config import SACConfig
from shoal.rllib.algorithms.sac.sac import SAC

SACConfig.algo_class = SAC

__all__ = ["SAC", "SACConfig"]
