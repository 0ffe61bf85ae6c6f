"""Trials and experiments."""

from shoal.tune.experiment.trial import Trial

__all__ = ["Trial"]
