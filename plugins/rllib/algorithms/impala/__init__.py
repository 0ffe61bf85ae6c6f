"""Importance weighted actor-learners."""

from __future__ import annotations

from shoal.rllib.algorithms.impala.config import IMPALAConfig
from shoal.rllib.algorithms.impala.impala import IMPALA

IMPALAConfig.algo_class = IMPALA

# The names that these had before.
Impala, ImpalaConfig = IMPALA, IMPALAConfig

__all__ = ["IMPALA", "IMPALAConfig", "Impala", "ImpalaConfig"]
