"""Pieces between environments and the module that plays."""

from __future__ import annotations

from shoal.rllib.connectors.env_to_module.env_to_module_pipeline import EnvToModulePipeline
from shoal.rllib.connectors.env_to_module.flatten_observations import FlattenObservations
from shoal.rllib.connectors.env_to_module.mean_std_filter import MeanStdFilter
from shoal.rllib.connectors.env_to_module.prev_actions_prev_rewards import PrevActionsPrevRewards
from shoal.rllib.connectors.env_to_module.write_observations_to_episodes import WriteObservationsToEpisodes

__all__ = [
    "EnvToModulePipeline",
    "FlattenObservations",
    "MeanStdFilter",
    "PrevActionsPrevRewards",
    "WriteObservationsToEpisodes",
]
