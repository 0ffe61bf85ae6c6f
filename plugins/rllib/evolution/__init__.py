"""Learning without gradients: many changed policies play, and what helped is added up."""

from __future__ import annotations

from shoal.rllib.evolution.evolving import Evolving
from shoal.rllib.evolution.playing import Contest, FlatPolicy, noise_of, play_changed

__all__ = ["Contest", "Evolving", "FlatPolicy", "noise_of", "play_changed"]
