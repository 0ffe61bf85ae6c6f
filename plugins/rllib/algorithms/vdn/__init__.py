"""Value decomposition networks."""

from __future__ import annotations

from shoal.rllib.algorithms.vdn.vdn import VDN, VDNConfig

__all__ = ["VDN", "VDNConfig"]
