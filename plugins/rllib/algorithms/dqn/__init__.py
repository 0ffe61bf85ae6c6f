"""Deep Q-networks."""

from __future__ import annotations

from shoal.rllib.algorithms.dqn.config import DQNConfig
from shoal.rllib.algorithms.dqn.dqn import DQN

DQNConfig.algo_class = DQN

__all__ = ["DQN", "DQNConfig"]
