"""Learners: what moves the weights of modules."""

from __future__ import annotations

from shoal.rllib.core.learner.learner import Learner
from shoal.rllib.core.learner.learner_group import LearnerGroup

__all__ = ["Learner", "LearnerGroup"]
