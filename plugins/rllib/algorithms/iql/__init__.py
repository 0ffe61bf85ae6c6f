"""IQL: values of what was done and went well, without asking for what was never done."""

from __future__ import annotations

from shoal.rllib.algorithms.iql.config import IQLConfig
from shoal.rllib.algorithms.iql.iql import IQL

IQLConfig.algo_class = IQL

__all__ = ["IQL", "IQLConfig"]
