"""Pieces between the module that plays and environments."""

from __future__ import annotations

from shoal.rllib.connectors.module_to_env.actions import GetActions, NormalizeAndClipActions
from shoal.rllib.connectors.module_to_env.module_to_env_pipeline import ModuleToEnvPipeline
from shoal.rllib.connectors.module_to_env.unbatching import (
    ListifyDataForVectorEnv,
    ModuleToAgentUnmapping,
    RemoveSingleTsTimeRankFromBatch,
    UnBatchToIndividualItems,
)

__all__ = [
    "GetActions",
    "ListifyDataForVectorEnv",
    "ModuleToAgentUnmapping",
    "ModuleToEnvPipeline",
    "NormalizeAndClipActions",
    "RemoveSingleTsTimeRankFromBatch",
    "UnBatchToIndividualItems",
]
