"""Asynchronous advantage actor-critic."""

from __future__ import annotations

from shoal.rllib.algorithms.a3c.a3c import A3C
from shoal.rllib.algorithms.a3c.config import A3CConfig

A3CConfig.algo_class = A3C

__all__ = ["A3C", "A3CConfig"]
