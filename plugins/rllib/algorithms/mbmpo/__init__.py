"""Model-based meta-policy optimisation."""

from __future__ import annotations

from shoal.rllib.algorithms.mbmpo.config import MBMPOConfig
from shoal.rllib.algorithms.mbmpo.mbmpo import MBMPO

MBMPOConfig.algo_class = MBMPO

__all__ = ["MBMPO", "MBMPOConfig"]
