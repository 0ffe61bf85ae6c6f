"""Distributions of actions, as modules and learners use them."""

from __future__ import annotations

from shoal.rllib.core.distribution.distribution import Distribution

__all__ = ["Distribution"]
