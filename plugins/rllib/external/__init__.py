"""Environments that are elsewhere: programs that ask for actions over HTTP, and tell what came of them."""

from __future__ import annotations

from shoal.rllib.external.client import PolicyClient
from shoal.rllib.external.runner import ExternalEnvRunner
from shoal.rllib.external.spaces import ExternalSpaces

__all__ = ["ExternalEnvRunner", "ExternalSpaces", "PolicyClient"]
