"""From episodes to what a learner learns from."""

from __future__ import annotations

from shoal.rllib.connectors.connector_pipeline_v2 import ConnectorPipelineV2


class LearnerConnectorPipeline(ConnectorPipelineV2):
    """The pieces between episodes and a learner.

    Example: `LearnerConnectorPipeline(observation_space, action_space, connectors=[AddOneTsToEpisodesAndTruncate()])`
    """
