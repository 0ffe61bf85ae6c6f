"""What algorithms with a replay buffer have in common."""

from __future__ import annotations

from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig
from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy

__all__ = ["OffPolicy", "OffPolicyConfig"]
