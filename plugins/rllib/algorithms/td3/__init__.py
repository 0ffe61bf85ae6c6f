"""TD3: DDPG with twin values, a policy that learns later, and smooth targets (Fujimoto et al., 2018)."""

from __future__ import annotations

from shoal.rllib.algorithms.td3.td3 import TD3, TD3Config

__all__ = ["TD3", "TD3Config"]
