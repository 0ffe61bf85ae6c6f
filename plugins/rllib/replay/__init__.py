"""What was seen, kept to learn from it again."""

from __future__ import annotations

from shoal.rllib.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer
from shoal.rllib.replay.n_step import NStep
from shoal.rllib.replay.shards import ReplayShards
from shoal.rllib.replay.sum_tree import SumTree

__all__ = ["NStep", "PrioritizedReplayBuffer", "ReplayBuffer", "ReplayShards", "SumTree"]
