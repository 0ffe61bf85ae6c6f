"""Pieces between episodes and learners."""

from __future__ import annotations

from shoal.rllib.connectors.episodes_to_batch import (
    AddColumnsFromEpisodesToTrainBatch,
    AddInfosFromEpisodesToTrainBatch,
    AddNextObservationsFromEpisodesToTrainBatch,
)
from shoal.rllib.connectors.learner.learner_connector_pipeline import LearnerConnectorPipeline
from shoal.rllib.connectors.learner.returns import (
    AddOneTsToEpisodesAndTruncate,
    ComputeReturnsToGo,
    GeneralAdvantageEstimation,
)

__all__ = [
    "AddColumnsFromEpisodesToTrainBatch",
    "AddInfosFromEpisodesToTrainBatch",
    "AddNextObservationsFromEpisodesToTrainBatch",
    "AddOneTsToEpisodesAndTruncate",
    "ComputeReturnsToGo",
    "GeneralAdvantageEstimation",
    "LearnerConnectorPipeline",
]
