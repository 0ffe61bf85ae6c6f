"""Several agents in one environment."""

from __future__ import annotations

from shoal.rllib.multi_agent.environment import MultiAgentEnv, make_multi_agent
from shoal.rllib.multi_agent.policies import PolicySpec

__all__ = ["MultiAgentEnv", "PolicySpec", "make_multi_agent"]
