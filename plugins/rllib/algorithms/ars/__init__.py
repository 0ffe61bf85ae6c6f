"""ARS: augmented random search (Mania et al., 2018)."""

from __future__ import annotations

from shoal.rllib.algorithms.ars.ars import ARS, ARSConfig

__all__ = ["ARS", "ARSConfig"]
