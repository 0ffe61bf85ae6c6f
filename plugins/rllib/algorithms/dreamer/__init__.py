"""A policy that is learned through a model of the environment."""

from __future__ import annotations

from shoal.rllib.algorithms.dreamer.config import DreamerConfig
from shoal.rllib.algorithms.dreamer.dreamer import Dreamer

DreamerConfig.algo_class = Dreamer

__all__ = ["Dreamer", "DreamerConfig"]
