"""Which replicas belong together: gangs of a deployment, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs

from shoal.serve.gang import GangContext, GangRuntimeFailurePolicy
from shoal.serve.messages import DeploymentSpec


class Seated(Protocol):
    """A replica that may have a place in a gang."""

    replica_id: str
    spec: DeploymentSpec
    state: str
    seat: GangContext | None


def size_of(spec: DeploymentSpec) -> int:
    """Return how many replicas of a version go together, 1 without gangs."""
    gang = spec.options.gang_scheduling_config
    return gang.gang_size if gang is not None else 1


def as_gangs(replicas: Sequence[Any]) -> list[Any]:
    """Return replicas so that those of a gang follow each other; otherwise in the order given."""
    first: dict[str, int] = {}
    for place, each in enumerate(replicas):
        if each.seat is not None:
            first.setdefault(each.seat.gang_id, place)
    places = {id(each): place for place, each in enumerate(replicas)}
    return sorted(
        replicas, key=lambda each: first[each.seat.gang_id] if each.seat is not None else places[id(each)]
    )


def broken_with(replica: Seated, others: Iterable[Any]) -> list[Any]:
    """Return the replicas that cannot go on when this one has died: its gang, if that restarts as a whole."""
    gang, seat = replica.spec.options.gang_scheduling_config, replica.seat
    if (
        gang is None
        or seat is None
        or gang.runtime_failure_policy is GangRuntimeFailurePolicy.RESTART_REPLICA
    ):
        return []
    return [
        each
        for each in others
        if each is not replica and each.seat is not None and each.seat.gang_id == seat.gang_id
    ]


def new_gang(gang_id: str, names: Sequence[str]) -> list[GangContext]:
    """Return the seats of a new gang with these members."""
    return [
        GangContext(gang_id, rank, len(names), tuple(names), f"SERVE_GANG#{gang_id}")
        for rank in range(len(names))
    ]


def empty_seats(alive: Sequence[Any]) -> list[GangContext]:
    """Return the seats in which nobody is, of gangs that have members; `member_replica_ids` are those that are left."""
    by_gang: dict[str, dict[int, Any]] = {}
    for each in alive:
        if each.seat is not None:
            by_gang.setdefault(each.seat.gang_id, {})[each.seat.rank] = each
    seats = []
    for members in by_gang.values():
        one = next(iter(members.values())).seat
        there = tuple(members[rank].replica_id for rank in sorted(members))
        seats += [
            attrs.evolve(one, rank=rank, member_replica_ids=there)
            for rank in range(one.world_size)
            if rank not in members
        ]
    return seats
