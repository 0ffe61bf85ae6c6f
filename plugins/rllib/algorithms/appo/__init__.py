"""Asynchronous proximal policy optimisation."""

from __future__ import annotations

from shoal.rllib.algorithms.appo.appo import APPO
from shoal.rllib.algorithms.appo.config import APPOConfig

APPOConfig.algo_class = APPO

__all__ = ["APPO", "APPOConfig"]
