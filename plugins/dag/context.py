"""What compiled graphs are made with unless `experimental_compile` says otherwise."""

from __future__ import annotations

from typing import Any

import attrs

from shoal.errors import ConfigError, describe


def _seconds(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    given: Any = value
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
        raise ConfigError(f"{attribute.name} must be a number of seconds above 0, not {describe(value)}")


def _count(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    given: Any = value
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"{attribute.name} must be a whole number ≥ 1, not {describe(value)}")


@attrs.define
class DAGContext:
    """The defaults of this process; `DAGContext.get_current()` returns it, to be changed in place.

    Example: `DAGContext.get_current().buffer_size_bytes = 8_000_000`
    """

    submit_timeout: float = attrs.field(default=10.0, validator=_seconds)  # seconds execute() waits for room
    get_timeout: float = attrs.field(
        default=10.0, validator=_seconds
    )  # seconds get() waits without a timeout
    teardown_timeout: float = attrs.field(
        default=30.0, validator=_seconds
    )  # seconds the actors' loops have to end
    read_iteration_timeout: float = attrs.field(
        default=0.1, validator=_seconds
    )  # seconds between looks for deaths
    buffer_size_bytes: int = attrs.field(
        default=1_000_000, validator=_count
    )  # the largest value in a channel
    max_inflight_executions: int = attrs.field(default=10, validator=_count)
    max_buffered_results: int = attrs.field(default=1_000, validator=_count)
    overlap_gpu_communication: bool = False

    @staticmethod
    def get_current() -> DAGContext:
        """Return the defaults of this process."""
        return _current


_current = DAGContext()
