"""BC: do what was done, learned as one learns what pictures show."""

from __future__ import annotations

from shoal.rllib.algorithms.bc.bc import BC, BCConfig

__all__ = ["BC", "BCConfig"]
