"""A policy that is learned in a model of the environment."""

from __future__ import annotations

from shoal.rllib.algorithms.dreamerv3.config import DreamerV3Config
from shoal.rllib.algorithms.dreamerv3.dreamerv3 import DreamerV3

DreamerV3Config.algo_class = DreamerV3

__all__ = ["DreamerV3", "DreamerV3Config"]
