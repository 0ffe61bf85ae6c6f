"""DDPG with many runners and replay in shards (Horgan et al., 2018)."""

from __future__ import annotations

from shoal.rllib.algorithms.apex_ddpg.apex_ddpg import ApexDDPG, ApexDDPGConfig

__all__ = ["ApexDDPG", "ApexDDPGConfig"]
