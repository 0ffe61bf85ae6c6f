"""CQL: soft actor-critic on recorded episodes, with values that are low for what was never done."""

from __future__ import annotations

from shoal.rllib.algorithms.cql.config import CQLConfig
from shoal.rllib.algorithms.cql.cql import CQL

CQLConfig.algo_class = CQL

__all__ = ["CQL", "CQLConfig"]
