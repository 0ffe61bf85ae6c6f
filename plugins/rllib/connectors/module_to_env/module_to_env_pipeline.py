"""From what a module gave to what environments take."""

from __future__ import annotations

from shoal.rllib.connectors.connector_pipeline_v2 import ConnectorPipelineV2


class ModuleToEnvPipeline(ConnectorPipelineV2):
    """The pieces between the module that plays and environments.

    Example: `ModuleToEnvPipeline(observation_space, action_space, connectors=[GetActions()])`
    """
