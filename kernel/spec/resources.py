"""Resources with exact fractions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from shoal.errors import ConfigError, describe

UNIT = 10_000  # a resource is counted in ten-thousandths, so that 0.1 + 0.2 == 0.3


def to_units(name: str, quantity: float) -> int:
    """Return `quantity` of resource `name` in ten-thousandths.

    Raises ConfigError when it is no number, negative, not finite, or finer than 0.0001.
    """
    if isinstance(quantity, bool) or not isinstance(quantity, (int, float)):
        raise ConfigError(f"resource {name!r} must be a number ≥ 0, got {describe(quantity)}")
    if quantity != quantity or quantity in (float("inf"), float("-inf")):
        raise ConfigError(f"resource {name!r} must be finite, got {quantity}")
    if quantity < 0:
        raise ConfigError(f"resource {name!r} must be ≥ 0, got {quantity}")
    if isinstance(quantity, int):
        return quantity * UNIT
    exact = Decimal(repr(quantity)) * UNIT
    units = int(exact)
    if units != exact:
        raise ConfigError(f"resource {name!r} is exact to 0.0001, got {quantity}; use {round(quantity, 4)}")
    return units


def _show(name: str, units: int) -> str:
    quantity = units / UNIT
    if name in ("memory", "object_store_memory") and abs(quantity) >= 2**20:
        return f"{quantity / 2**30:.2f} GiB"
    return f"{quantity:g}"


class ResourceSet(Mapping[str, float]):
    """An immutable bag of named quantities ≥ 0; names with zero are left out.

    Example: `ResourceSet.of(CPU=1).covers(ResourceSet.of(CPU=0.5))` is True.
    """

    __slots__ = ("_hash", "units")

    def __init__(self, units: Mapping[str, int] | None = None) -> None:
        self.units: dict[str, int] = {name: amount for name, amount in (units or {}).items() if amount}
        self._hash: int | None = None

    @classmethod
    def of(cls, mapping: Mapping[str, float] | None = None, **quantities: float) -> ResourceSet:
        """Build from plain numbers. Raises ConfigError as `to_units` does."""
        merged = {**(mapping or {}), **quantities}
        return cls({name: to_units(name, quantity) for name, quantity in merged.items()})

    def __getitem__(self, name: str) -> float:
        return self.units[name] / UNIT

    def __iter__(self) -> Iterator[str]:
        return iter(self.units)

    def __len__(self) -> int:
        return len(self.units)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.units.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResourceSet):
            return self.units == other.units
        return NotImplemented

    def covers(self, other: ResourceSet) -> bool:
        """Tell whether every quantity of `other` is here."""
        mine = self.units
        return all(mine.get(name, 0) >= amount for name, amount in other.units.items())

    def shortfall(self, other: ResourceSet) -> ResourceSet:
        """Return what `other` asks beyond what is here; empty when covered."""
        mine = self.units
        return ResourceSet(
            {n: amount - mine.get(n, 0) for n, amount in other.units.items() if amount > mine.get(n, 0)}
        )

    def __add__(self, other: ResourceSet) -> ResourceSet:
        total = dict(self.units)
        for name, amount in other.units.items():
            total[name] = total.get(name, 0) + amount
        return ResourceSet(total)

    def __sub__(self, other: ResourceSet) -> ResourceSet:
        """Subtract; quantities may go below zero (a worker that came back from a wait overcommits)."""
        total = dict(self.units)
        for name, amount in other.units.items():
            total[name] = total.get(name, 0) - amount
        return ResourceSet(total)

    def clipped(self) -> ResourceSet:
        """Return it with nothing below zero: what is lent out while workers wait is not there to be given."""
        return ResourceSet({name: max(0, amount) for name, amount in self.units.items()})

    def to_floats(self) -> dict[str, float]:
        """Return plain numbers by name."""
        return {name: amount / UNIT for name, amount in self.units.items()}

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}: {_show(name, amount)}" for name, amount in sorted(self.units.items()))
        return "{" + inner + "}"

    def __reduce__(self) -> tuple[type[ResourceSet], tuple[dict[str, int]]]:
        return ResourceSet, (self.units,)


def together(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of units by resource."""
    total: dict[str, int] = {}
    for units in several:
        for name, amount in units.items():
            total[name] = total.get(name, 0) + amount
    return total
