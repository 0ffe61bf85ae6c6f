"""Amounts of what a pipeline uses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from shoal.errors import describe

_NAMES = {"cpu": "CPU", "gpu": "GPU", "memory": "memory", "object_store_memory": "object_store_memory"}


def _amount(instance: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    if value is not None and (type(value) not in (int, float) or math.isnan(value)):
        raise ValueError(f"{attribute.name} must be a number or None, not {describe(value)}")


def _plain(value: float | None) -> float | None:
    return None if value == math.inf else value


@attrs.frozen
class ExecutionResources:
    """CPUs, GPUs, bytes of memory, and bytes of blocks in the object store. None sets no bound; so does infinity.

    Example: `ExecutionResources(cpu=4, object_store_memory=2**30)`
    """

    cpu: float | None = attrs.field(default=None, validator=_amount, converter=_plain)
    gpu: float | None = attrs.field(default=None, validator=_amount, converter=_plain)
    object_store_memory: float | None = attrs.field(default=None, validator=_amount, converter=_plain)
    memory: float | None = attrs.field(default=None, validator=_amount, converter=_plain)

    @classmethod
    def zero(cls) -> ExecutionResources:
        """Return nothing of anything.

        Example: `ExecutionResources.zero().add(used)`
        """
        return cls(0, 0, 0, 0)

    @classmethod
    def inf(cls) -> ExecutionResources:
        """Return no bound of anything.

        Example: `ExecutionResources.inf().min(limits)`
        """
        return cls()

    @classmethod
    def for_limits(
        cls,
        cpu: float | None = None,
        gpu: float | None = None,
        object_store_memory: float | None = None,
        memory: float | None = None,
    ) -> ExecutionResources:
        """Return bounds; what is not given has none.

        Example: `ExecutionResources.for_limits(cpu=4)`
        """
        return cls(cpu, gpu, object_store_memory, memory)

    @classmethod
    def from_resource_dict(cls, resource_dict: Mapping[str, float]) -> ExecutionResources:
        """Return the amounts of a mapping of resources, as a session gives them; what is not there is 0.

        Example: `ExecutionResources.from_resource_dict(shoal.cluster_resources())`
        """
        return cls(**{name: resource_dict.get(key, 0.0) for name, key in _NAMES.items()})

    def to_resource_dict(self) -> dict[str, float]:
        """Return it as a mapping of resources, without what is 0 or has no bound.

        Example: `ExecutionResources(cpu=2).to_resource_dict()  # {"CPU": 2}`
        """
        given = ((key, getattr(self, name)) for name, key in _NAMES.items())
        return {key: value for key, value in given if value}

    @classmethod
    def combine(
        cls, resources: Iterable[ExecutionResources], fn: Callable[[Iterable[float]], float]
    ) -> ExecutionResources:
        """Return what `fn` makes of each kind's amounts, in which no bound is infinity.

        Example: `ExecutionResources.combine([one, other], max)`
        """
        given = list(resources)
        return cls(**{name: fn([each._of(name) for each in given]) for name in _NAMES})

    @classmethod
    def combine_sum(cls, resources: Iterable[ExecutionResources]) -> ExecutionResources:
        """Return the sum of amounts; of none, nothing.

        Example: `ExecutionResources.combine_sum(each.used for each in operators)`
        """
        return functools.reduce(cls.add, resources, cls.zero())

    def copy(
        self,
        cpu: float | None = None,
        gpu: float | None = None,
        memory: float | None = None,
        object_store_memory: float | None = None,
    ) -> ExecutionResources:
        """Return the same, with other amounts where some are given.

        Example: `limits.copy(cpu=2)`
        """
        given = {"cpu": cpu, "gpu": gpu, "memory": memory, "object_store_memory": object_store_memory}
        return attrs.evolve(self, **{name: value for name, value in given.items() if value is not None})

    def add(self, other: ExecutionResources) -> ExecutionResources:
        """Return both together.

        Example: `used.add(more)`
        """
        return self._with(other, lambda one, two: one + two)

    def subtract(self, other: ExecutionResources) -> ExecutionResources:
        """Return this without the other; amounts may be below 0. Raises ValueError for taking away without bound.

        Example: `limits.subtract(used)`
        """
        for name in _NAMES:
            if getattr(other, name) is None and getattr(self, name) is not None:
                raise ValueError(f"what has no bound cannot be taken away: {name}")
        return self._with(other, lambda one, two: math.inf if one == math.inf else one - two)

    def max(self, other: ExecutionResources) -> ExecutionResources:
        """Return the larger amount of each kind.

        Example: `used.max(least)`
        """
        return self._with(other, lambda one, two: one if one >= two else two)

    def min(self, other: ExecutionResources) -> ExecutionResources:
        """Return the smaller amount of each kind.

        Example: `wanted.min(limits)`
        """
        return self._with(other, lambda one, two: one if one <= two else two)

    def scale(self, f: float) -> ExecutionResources:
        """Return each amount times a number ≥ 0. Raises ValueError for one below 0.

        Example: `limits.scale(0.5)`
        """
        if f < 0:
            raise ValueError(f"amounts are scaled by a number ≥ 0, not {describe(f)}")
        return self._each(lambda value: value * f if value or (value == math.inf and f) else 0)

    def floordiv(self, other: ExecutionResources) -> ExecutionResources:
        """Return how many times the other fits into this, kind by kind; without bound where it takes nothing.

        Example: `limits.floordiv(ExecutionResources(cpu=2)).cpu`
        """
        return self._with(other, _times)

    def is_zero(self) -> bool:
        """Tell whether it is nothing of anything."""
        return all(self._of(name) == 0 for name in _NAMES)

    def is_non_negative(self) -> bool:
        """Tell whether no amount is below 0."""
        return all(self._of(name) >= 0 for name in _NAMES)

    def satisfies_limit(self, limit: ExecutionResources, ignore_object_store_memory: bool = False) -> bool:
        """Tell whether no amount is above that of a limit.

        Example: `used.satisfies_limit(limits)`
        """
        names = [n for n in _NAMES if not (ignore_object_store_memory and n == "object_store_memory")]
        return all(self._of(name) <= limit._of(name) for name in names)

    def object_store_memory_str(self) -> str:
        """Return the bytes of blocks for a person."""
        return _shown(self.object_store_memory)

    def memory_str(self) -> str:
        """Return the bytes of memory for a person."""
        return _shown(self.memory)

    def _of(self, name: str) -> float:
        value: float | None = getattr(self, name)
        return math.inf if value is None else value

    def _with(self, other: ExecutionResources, fn: Callable[[float, float], float]) -> ExecutionResources:
        return type(self)(**{name: fn(self._of(name), other._of(name)) for name in _NAMES})

    def _each(self, fn: Callable[[float], float]) -> ExecutionResources:
        return type(self)(**{name: fn(self._of(name)) for name in _NAMES})


def check_limits(instance: Any, attribute: attrs.Attribute[ExecutionResources], value: Any) -> None:
    """Raise TypeError or ValueError, naming the option, unless it is amounts that are not below 0.

    Example: `attrs.field(validator=check_limits)`
    """
    if not isinstance(value, ExecutionResources):
        raise TypeError(f"{attribute.name} must be ExecutionResources, not {describe(value)}")
    if not value.is_non_negative():
        raise ValueError(f"{attribute.name} must have no amount below 0: {value}")


def _times(one: float, two: float) -> float:
    if not two or one == math.inf:
        return math.inf
    return one // two


def _shown(size: float | None) -> str:
    if size is None:
        return "inf"
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
