"""Modules: what plays, and what is learned."""

from __future__ import annotations

from shoal.rllib.core.rl_module.rl_module import (
    MultiRLModule,
    MultiRLModuleSpec,
    RLModule,
    RLModuleSpec,
    validate_module_id,
)

__all__ = ["MultiRLModule", "MultiRLModuleSpec", "RLModule", "RLModuleSpec", "validate_module_id"]
