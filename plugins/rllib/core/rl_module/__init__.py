"""Modules: what plays, and what is learned."""

from __future__ import annotations

from shoal.rllib.core.rl_module.multi_rl_module import MultiRLModule, MultiRLModuleSpec, validate_module_id
from shoal.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec

__all__ = ["MultiRLModule", "MultiRLModuleSpec", "RLModule", "RLModuleSpec", "validate_module_id"]
