"""DDPG with many runners and replay in shards (Horgan et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.ddpg import DDPG, DDPGConfig
from shoal.rllib.algorithms.off_policy.asynchronous import Apex, apex_families, check_apex


class ApexDDPG(Apex, DDPG):
    """Asynchronous DDPG.

    Example: `ApexDDPGConfig().environment("Pendulum-v1").env_runners(num_env_runners=4).build().train()`
    """

    needs_values = True  # for the first priorities of what runners see


class ApexDDPGConfig(DDPGConfig):
    """Settings of asynchronous DDPG.

    Besides those of DDPG `training` takes `broadcast_interval` (batches after which runners get new weights) and
    `max_requests_in_flight_per_replay_shard`; `replay_buffer_config` takes `num_shards`. With
    `training_intensity=None` it learns as fast as batches come.

    Example: `ApexDDPGConfig().environment("Pendulum-v1").training(replay_buffer_config={"num_shards": 2})`
    """

    algo_class = ApexDDPG
    families: Mapping[str, Mapping[str, Any]] = apex_families(DDPGConfig.families)
    fragment = 50

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        check_apex(self)
