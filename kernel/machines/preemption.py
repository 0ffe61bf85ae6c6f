"""Whom to end so that a demand of a job of higher priority has room: of the lowest priority the newest, just enough."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from shoal.spec.resources import ResourceSet


@attrs.frozen
class Running:
    """A lease whose task may be ended and run again. `age` is smaller for newer ones."""

    lease_id: int
    priority: int
    resources: ResourceSet
    age: float


def choose_victims(
    demand: ResourceSet, free: ResourceSet, running: Iterable[Running], priority: int
) -> list[Running] | None:
    """Return the leases to end so that `demand` fits; none if it does already; None if ending all would not do.

    Only leases of a lower priority than `priority` are chosen: of those the lowest first, and among them the newest.
    """
    candidates = sorted(
        (one for one in running if one.priority < priority), key=lambda one: (one.priority, one.age)
    )
    chosen: list[Running] = []
    room = free  # below zero where workers came back from a wait: that has to be made up for as well
    for one in candidates:
        missing = room.shortfall(demand).units
        if not missing:
            break
        if any(one.resources.units.get(name, 0) for name in missing):
            chosen.append(one)
            room = room + one.resources
    if room.shortfall(demand).units:
        return None
    for one in reversed(list(chosen)):  # a large one chosen late may have made an earlier one needless
        if (room - one.resources).covers(demand):
            chosen.remove(one)
            room = room - one.resources
    return chosen
