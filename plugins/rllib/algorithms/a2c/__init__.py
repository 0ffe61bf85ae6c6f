"""Advantage actor-critic, all runners at once."""

from __future__ import annotations

from shoal.rllib.algorithms.a2c.a2c import A2C
from shoal.rllib.algorithms.a2c.config import A2CConfig

A2CConfig.algo_class = A2C

__all__ = ["A2C", "A2CConfig"]
