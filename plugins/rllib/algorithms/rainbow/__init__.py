"""Rainbow: DQN with everything on (Hessel et al., 2018)."""

from __future__ import annotations

from shoal.rllib.algorithms.rainbow.rainbow import Rainbow, RainbowConfig

__all__ = ["Rainbow", "RainbowConfig"]
