"""What a program may do at moments of an algorithm's life."""

from __future__ import annotations

from shoal.rllib.callbacks.callbacks import RLlibCallback

__all__ = ["RLlibCallback"]
