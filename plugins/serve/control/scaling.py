"""Autoscaling in the controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.serve.control.events import Action


class Scaler:
    """Looks at the load of autoscaled deployments."""

    def __init__(self, machine: Any, replicas: Any) -> None:
        self._machine = machine
        self._replicas = replicas

    def queued(self, listener: str, waiting: Mapping[str, int], now: float) -> None:
        """Take note of what waits in a caller."""

    def look(self, now: float) -> list[Action]:
        """Return what is to be done."""
        return []

    def details(self, key: str) -> Any:
        """Return what is known."""
        return None
