"""What can go wrong with environments and spaces."""

from __future__ import annotations

from shoal.errors import ShoalError


class UnsupportedSpaceException(ShoalError):
    """A space that an algorithm cannot play."""


class EnvError(ShoalError):
    """An environment that breaks its own rules."""


class MultiAgentEnvError(EnvError):
    """An environment with several agents that breaks its own rules."""


class NotSerializable(ShoalError):  # the reference's name
    """A value that cannot be sent."""


class StepFailedRecreateEnvError(EnvError):
    """Raised by an environment's `step`: it cannot go on, and a new one is to be made in its place."""
