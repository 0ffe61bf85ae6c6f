"""ES: evolution strategies (Salimans et al., 2017)."""

from __future__ import annotations

from shoal.rllib.algorithms.es.es import ES, ESConfig, centred_ranks

__all__ = ["ES", "ESConfig", "centred_ranks"]
