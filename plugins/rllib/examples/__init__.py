"""Small environments that show what an algorithm can do."""

from __future__ import annotations

from shoal.rllib.examples.landmarks import Landmarks
from shoal.rllib.examples.point_mass import PointMass
from shoal.rllib.examples.two_step_game import TwoStepGame

__all__ = ["Landmarks", "PointMass", "TwoStepGame"]
