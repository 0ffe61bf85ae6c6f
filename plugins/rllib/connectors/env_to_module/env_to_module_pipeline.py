"""From episodes as they are now to what a module acts on."""

from __future__ import annotations

from shoal.rllib.connectors.connector_pipeline_v2 import ConnectorPipelineV2


class EnvToModulePipeline(ConnectorPipelineV2):
    """The pieces between environments and the module that plays.

    Example: `EnvToModulePipeline(observation_space, action_space, connectors=[FlattenObservations()])`
    """
