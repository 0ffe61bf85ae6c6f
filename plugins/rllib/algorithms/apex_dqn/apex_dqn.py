"""DQN with many runners and replay in shards (Horgan et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.dqn import DQN, DQNConfig
from shoal.rllib.algorithms.off_policy.asynchronous import Apex, apex_families, check_apex


class ApexDQN(Apex, DQN):
    """Asynchronous DQN.

    Example: `ApexDQNConfig().environment("CartPole-v1").env_runners(num_env_runners=4).build().train()`
    """


class ApexDQNConfig(DQNConfig):
    """Settings of asynchronous DQN.

    Besides those of DQN `training` takes `broadcast_interval` (batches after which runners get new weights) and
    `max_requests_in_flight_per_replay_shard`; `replay_buffer_config` takes `num_shards`. With
    `training_intensity=None` it learns as fast as batches come.

    Example: `ApexDQNConfig().environment("CartPole-v1").training(replay_buffer_config={"num_shards": 2})`
    """

    algo_class = ApexDQN
    families: Mapping[str, Mapping[str, Any]] = apex_families(DQNConfig.families)
    fragment = 50

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        check_apex(self)
