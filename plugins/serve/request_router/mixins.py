"""Parts for routers of one's own: first come first served, near replicas first, replicas with the model first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shoal.serve.context import ReplicaID
from shoal.serve.request_router.pending import PendingRequest
from shoal.serve.request_router.replicas import RunningReplica


class FIFOMixin:
    """A replica with room gets the request that has waited longest, whichever the router was asked for."""

    fifo = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class LocalityMixin:
    """Ranks replicas by how near they are: this node's, then this zone's, then the others.

    A replica's zone is what its `record_routing_stats()` says under `availability_zone`.
    """

    curr_replicas: dict[ReplicaID, RunningReplica]

    def __init__(
        self,
        self_node_id: str | None = None,
        prefer_local_node_routing: bool = True,
        prefer_local_az_routing: bool = False,
        self_availability_zone: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._node_id = self_node_id
        self._prefer_node = prefer_local_node_routing
        self._prefer_zone = prefer_local_az_routing
        self._zone = self_availability_zone
        super().__init__(*args, **kwargs)

    def _groups(self, replicas: Iterable[RunningReplica]) -> tuple[list[RunningReplica], ...]:
        groups: tuple[list[RunningReplica], ...] = [], [], []
        for each in replicas:
            near = self._prefer_node and each.node_id == self._node_id
            zone = self._prefer_zone and self._zone is not None and each.availability_zone == self._zone
            groups[0 if near else 1 if zone else 2].append(each)
        return groups

    def rank_replicas_via_locality(self, replicas: list[RunningReplica]) -> list[list[RunningReplica]]:
        """Return the replicas in groups, the nearest first; groups may be empty."""
        return list(self._groups(replicas))

    def apply_locality_routing(self, pending_request: PendingRequest | None = None) -> set[ReplicaID]:
        """Return the nearest replicas that the request has not been tried with: wider with each call."""
        groups = [group for group in self._groups(self.curr_replicas.values()) if group]
        tries = 0
        if pending_request is not None:
            notes = pending_request.routing_context.notes
            tries = notes.get("locality", 0)
            notes["locality"] = tries + 1
            pending_request.routing_context.should_backoff = tries + 1 >= len(groups)
        return {each.replica_id for group in groups[: tries + 1] for each in group}


class MultiplexMixin:
    """Ranks replicas by models: those that have the one asked for, then those with the fewest."""

    curr_replicas: dict[ReplicaID, RunningReplica]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def rank_replicas_via_multiplex(
        self, replicas: list[RunningReplica], multiplexed_model_id: str
    ) -> list[list[RunningReplica]]:
        """Return the replicas in groups: with the model, and then by how many others they have."""
        having = [each for each in replicas if multiplexed_model_id in each.multiplexed_model_ids]
        counts: dict[int, list[RunningReplica]] = {}
        for each in replicas:
            if multiplexed_model_id not in each.multiplexed_model_ids:
                counts.setdefault(len(each.multiplexed_model_ids), []).append(each)
        return [having, *(counts[number] for number in sorted(counts))]

    def apply_multiplex_routing(self, pending_request: PendingRequest | None = None) -> set[ReplicaID]:
        """Return the replicas with the request's model, then those with few, then all: wider each call."""
        if pending_request is None or not pending_request.metadata.multiplexed_model_id:
            return set(self.curr_replicas)
        ranked = self.rank_replicas_via_multiplex(
            list(self.curr_replicas.values()), pending_request.metadata.multiplexed_model_id
        )
        groups = [group for group in ranked if group]
        notes = pending_request.routing_context.notes
        tries = notes.get("multiplex", 0)
        notes["multiplex"] = tries + 1
        pending_request.routing_context.should_backoff = tries + 1 >= len(groups)
        return {each.replica_id for group in groups[: tries + 1] for each in group}
