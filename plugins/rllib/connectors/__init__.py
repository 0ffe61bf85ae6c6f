"""Connectors: what lies between environments, modules and learners, in pieces that can be changed one by one."""

from __future__ import annotations

from shoal.rllib.connectors.connector_pipeline_v2 import ConnectorPipelineV2
from shoal.rllib.connectors.connector_v2 import ConnectorV2

__all__ = ["ConnectorPipelineV2", "ConnectorV2"]
