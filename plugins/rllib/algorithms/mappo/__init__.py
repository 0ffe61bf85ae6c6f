"""Proximal policy optimisation of several agents with central values."""

from __future__ import annotations

from shoal.rllib.algorithms.mappo.config import MAPPOConfig
from shoal.rllib.algorithms.mappo.mappo import MAPPO

MAPPOConfig.algo_class = MAPPO

__all__ = ["MAPPO", "MAPPOConfig"]
