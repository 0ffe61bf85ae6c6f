"""Monotonic mixing of agents' values."""

from __future__ import annotations

from shoal.rllib.algorithms.qmix.config import QMIXConfig
from shoal.rllib.algorithms.qmix.qmix import QMIX

QMIXConfig.algo_class = QMIX
QMix, QMixConfig = QMIX, QMIXConfig  # as they were spelled before

__all__ = ["QMIX", "QMIXConfig", "QMix", "QMixConfig"]
