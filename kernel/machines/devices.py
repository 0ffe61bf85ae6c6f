"""Which devices of one kind are in use, in fractions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shoal.spec.resources import UNIT


class DevicePool:
    """Devices of one resource, each divisible into ten-thousandths.

    Whole devices are given whole and in order; a fraction goes to the fullest device that still holds it, so that
    fragments gather.
    """

    __slots__ = ("_free",)

    def __init__(self, ids: Iterable[str]) -> None:
        self._free: dict[str, int] = dict.fromkeys(ids, UNIT)

    @classmethod
    def of_parts(cls, parts: Mapping[str, int]) -> DevicePool:
        """Build a pool from {device: units}, parts of devices included (a bundle's share)."""
        pool = cls(())
        pool._free = dict(parts)
        return pool

    def take(self, units: int) -> dict[str, int] | None:
        """Return {device: units taken}, or None if no choice of devices holds it."""
        if units <= 0:
            return {}
        if units < UNIT:
            fitting = [device for device, free in self._free.items() if free >= units]
            if not fitting:
                return None
            best = min(fitting, key=lambda device: self._free[device])
            self._free[best] -= units
            return {best: units}
        whole = [device for device, free in self._free.items() if free == UNIT]
        count = units // UNIT
        if units % UNIT or len(whole) < count:
            return None
        for device in whole[:count]:
            self._free[device] = 0
        return dict.fromkeys(whole[:count], UNIT)

    def give_back(self, taken: Mapping[str, int]) -> None:
        """Undo `take`."""
        for device, units in taken.items():
            self._free[device] += units

    def free_units(self) -> Mapping[str, int]:
        """Return what is free on each device."""
        return dict(self._free)
