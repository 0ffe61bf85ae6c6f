"""DQN with many runners and replay in shards (Horgan et al., 2018)."""

from __future__ import annotations

from shoal.rllib.algorithms.apex_dqn.apex_dqn import ApexDQN, ApexDQNConfig

__all__ = ["ApexDQN", "ApexDQNConfig"]
