"""Amounts of what a pipeline uses."""

from __future__ import annotations

import attrs

from shoal.errors import describe


def _amount(instance: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    if value is not None and (type(value) not in (int, float) or value < 0):
        raise ValueError(f"{attribute.name} must be a number ≥ 0 or None, not {describe(value)}")


@attrs.frozen
class ExecutionResources:
    """CPUs, GPUs and bytes of blocks in the object store; None sets no bound.

    Example: `ExecutionResources(cpu=4, object_store_memory=2**30)`
    """

    cpu: float | None = attrs.field(default=None, validator=_amount)
    gpu: float | None = attrs.field(default=None, validator=_amount)
    object_store_memory: float | None = attrs.field(default=None, validator=_amount)
