"""MARWIL: imitation that weighs actions by how much better than expected they went (Wang et al., 2018)."""

from __future__ import annotations

from shoal.rllib.algorithms.marwil.config import MARWILConfig
from shoal.rllib.algorithms.marwil.marwil import MARWIL

MARWILConfig.algo_class = MARWIL

__all__ = ["MARWIL", "MARWILConfig"]
