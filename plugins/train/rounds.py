"""What is reported of a library that trains in rounds, and which rounds have a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError


class Rounds:
    """Counts rounds. Every rank counts alike, so that all report equally often.

    Example: `Rounds(None, 10, True, None).note({"train-loss": [0.5]})  # whether there is a checkpoint`
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None,
        frequency: int,
        at_end: bool,
        process: Callable[[dict[str, Any]], dict[str, Any]] | None,
    ) -> None:
        if frequency < 0:
            raise ConfigError(f"frequency must be at least 0 rounds, not {frequency}")
        names = [metrics] if isinstance(metrics, str) else metrics
        self._names: dict[str, str] | None = (
            dict(names) if isinstance(names, dict) else {name: name for name in names} if names else None
        )
        self._frequency = frequency
        self._at_end = at_end
        self._process = process
        self._count = 0
        self._saved = False
        self.metrics: dict[str, Any] = {}

    def note(self, found: Mapping[str, Sequence[Any]]) -> bool:
        """Note the values of all rounds up to this one; return whether this has a checkpoint."""
        self._count += 1
        if self._process is not None:
            self.metrics = dict(self._process({name: list(values) for name, values in found.items()}))
        else:
            last = {name: values[-1] for name, values in found.items()}
            self.metrics = (
                last
                if self._names is None
                else {theirs: last[name] for theirs, name in self._names.items() if name in last}
            )
        self._saved = bool(self._frequency) and self._count % self._frequency == 0
        return self._saved

    def at_end(self) -> bool:
        """Return whether there is a checkpoint to be made at the end."""
        return self._at_end and self._count > 0 and not self._saved
