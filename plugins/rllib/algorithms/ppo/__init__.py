"""Proximal policy optimisation."""

from __future__ import annotations

from shoal.rllib.algorithms.ppo.config import PPOConfig
from shoal.rllib.algorithms.ppo.ppo import PPO

PPOConfig.algo_class = PPO

__all__ = ["PPO", "PPOConfig"]
