"""Counters that travel with an iterator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any


class MetricsContext:
    """Counters, timers and facts of one iterator, for the functions in it to use."""

    def __init__(self) -> None:
        self.counters: defaultdict[str, float] = defaultdict(float)
        self.timers: defaultdict[str, float] = defaultdict(float)
        self.info: dict[str, Any] = {}
        self.current_actor: Any = None

    def save(self) -> dict[str, Any]:
        """Return the values as plain data."""
        return {"counters": dict(self.counters), "timers": dict(self.timers), "info": dict(self.info)}

    def restore(self, values: dict[str, Any]) -> None:
        """Take the values that `save` returned in place of these."""
        for name in ("counters", "timers", "info"):
            mine = getattr(self, name)
            mine.clear()
            mine.update(values[name])


class SharedMetrics:
    """Which context an iterator uses: iterators that were joined share one."""

    def __init__(
        self, metrics: MetricsContext | None = None, parents: Sequence[SharedMetrics] | None = None
    ) -> None:
        self._metrics = metrics if metrics is not None else MetricsContext()
        self._parents = list(parents or ())
        self.set(self._metrics)

    def set(self, metrics: MetricsContext) -> None:
        """Use this context, here and in all iterators that this one is made of."""
        self._metrics = metrics
        for parent in self._parents:
            parent.set(metrics)

    def get(self) -> MetricsContext:
        """Return the context."""
        return self._metrics
