"""The base of routers that may wait, as the reference system has it."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.serve.context import DeploymentID, ReplicaID
from shoal.serve.request_router.pending import PendingRequest
from shoal.serve.request_router.replicas import ReplicaQueueLengthCache, RunningReplica

_LEAST_TASKS = 64


class RequestRouter(ABC):
    """Says for each request of one deployment, in one caller, which replicas it may go to, best first.

    Subclasses write `choose_replicas`, which may wait, and take their own arguments (`request_router_kwargs`) in
    `initialize_state`. All methods run in one event loop of the calling process. A request goes to the replica with the
    fewest requests of the first group that has one with room; if none has, the router is asked again when something
    changes, or after `initial_backoff_s`, `backoff_multiplier` times as long each time, at most `max_backoff_s`.

    Example:
        class First(RequestRouter):
            async def choose_replicas(self, candidate_replicas, pending_request=None):
                return [[replica] for replica in sorted(candidate_replicas, key=lambda each: each.replica_id)]
    """

    def __init__(
        self,
        deployment_id: DeploymentID,
        handle_source: str = "REPLICA",
        self_actor_id: str | None = None,
        self_actor_handle: Any = None,
        use_replica_queue_len_cache: bool = False,
        get_curr_time_s: Callable[[], float] | None = None,
        create_replica_wrapper_func: Callable[[Any], RunningReplica] | None = None,
        initial_backoff_s: float = 0.025,
        backoff_multiplier: float = 2.0,
        max_backoff_s: float = 0.5,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if args or kwargs:
            raise TypeError(
                f"{type(self).__name__}: arguments of one's own go to initialize_state, not {args or kwargs}"
            )
        self._deployment_id = deployment_id
        self._handle_source = handle_source
        self._self_actor_id = self_actor_id
        self._self_actor_handle = self_actor_handle
        self._use_cache = use_replica_queue_len_cache
        self._cache = ReplicaQueueLengthCache(get_curr_time_s=get_curr_time_s)
        self._make = create_replica_wrapper_func or RunningReplica
        self._replicas: dict[ReplicaID, RunningReplica] = {}
        self._pending = 0
        self._routing = 0
        self.update_backoff_params(initial_backoff_s, backoff_multiplier, max_backoff_s)

    def initialize_state(self, **kwargs: Any) -> None:
        """Take `request_router_kwargs`; called once, before any request. Raises TypeError for what it does not know."""
        if kwargs:
            raise TypeError(
                f"{type(self).__name__} takes no request_router_kwargs: {', '.join(sorted(kwargs))}"
            )

    @abstractmethod
    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return groups of replicas, the best group first. What it raises fails the request."""

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:  # noqa: B027  (most need not know)
        """A request went to a replica; `result` is the reference to its answer."""

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """A request has ended."""
        self.decrement_queue_len_cache(replica_id)

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """A request goes to a replica now."""
        known = self._cache.get(replica_id)
        if known is not None:
            self._cache.update(replica_id, known + 1)

    def on_new_queue_len_info(self, replica_id: ReplicaID, num_ongoing_requests: int) -> None:
        """A replica has told how many requests it has."""
        self._cache.update(replica_id, num_ongoing_requests)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """A replica is gone: no request goes there any more."""
        self._replicas.pop(replica_id, None)
        self._cache.invalidate_key(replica_id)

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        """A replica cannot be reached now: what was known of it says nothing any more."""
        self._cache.invalidate_key(replica_id)

    def decrement_queue_len_cache(self, replica_id: ReplicaID) -> None:
        """Take note that a replica has one request fewer."""
        known = self._cache.get(replica_id)
        if known is not None:
            self._cache.update(replica_id, known - 1)

    def update_backoff_params(
        self, initial_backoff_s: float, backoff_multiplier: float, max_backoff_s: float
    ) -> None:
        """Say how long to wait before the router is asked again, in seconds. Raises ConfigError."""
        if not (initial_backoff_s > 0 and backoff_multiplier >= 1 and max_backoff_s >= initial_backoff_s):
            raise ConfigError(
                "initial_backoff_s must be > 0, backoff_multiplier ≥ 1 and max_backoff_s ≥ initial_backoff_s, not "
                f"{initial_backoff_s}, {backoff_multiplier}, {max_backoff_s}"
            )
        self.initial_backoff_s = initial_backoff_s
        self.backoff_multiplier = backoff_multiplier
        self.max_backoff_s = max_backoff_s

    def create_replica_wrapper(self, replica_info: Any) -> RunningReplica:
        """Return a replica as this router sees it, of what the caller knows of it."""
        return self._make(replica_info)

    def update_replicas(self, replicas: Sequence[RunningReplica]) -> None:
        """Take note that the replicas are these now."""
        self._replicas = {each.replica_id: each for each in replicas}
        self._cache.remove_inactive_replicas(active_replica_ids=self._replicas.keys())

    def queue_len(self, replica: RunningReplica) -> int:
        """Return how many requests a replica has as far as is known here."""
        cached = self._cache.get(replica.replica_id) if self._use_cache else None
        return replica.known_queue_len if cached is None else cached

    def select_available_replicas(
        self, candidates: Iterable[RunningReplica] | None = None
    ) -> list[RunningReplica]:
        """Return those with room, of all that there are unless others are given."""
        given = self._replicas.values() if candidates is None else candidates
        return [each for each in given if each.has_room and self.queue_len(each) < each.max_ongoing_requests]

    def in_order(self, group: Iterable[RunningReplica]) -> list[RunningReplica]:
        """Return those of a group with room, the one with the fewest requests first, equal ones in any order."""
        having = self.select_available_replicas(group)
        random.shuffle(having)
        return sorted(having, key=self.queue_len)

    @property
    def app_name(self) -> str:
        """The application's name."""
        return self._deployment_id.app_name

    @property
    def curr_replicas(self) -> dict[ReplicaID, RunningReplica]:
        """The replicas that there are."""
        return self._replicas

    @property
    def num_pending_requests(self) -> int:
        """How many requests wait for a replica."""
        return self._pending

    @property
    def curr_num_routing_tasks(self) -> int:
        """For how many requests the router is being asked."""
        return self._routing

    @property
    def max_num_routing_tasks(self) -> int:
        """For how many it may be asked at once; later requests wait for their turn."""
        return max(_LEAST_TASKS, 2 * len(self._replicas))

    @property
    def target_num_routing_tasks(self) -> int:
        """For how many it should be asked now."""
        return min(self._pending, self.max_num_routing_tasks)

    @property
    def replica_queue_len_cache(self) -> ReplicaQueueLengthCache:
        """What is remembered of how much replicas have to do."""
        return self._cache

    @property
    def supports_rejection_protocol(self) -> bool:
        """Whether replicas may refuse a request: they do not, callers count what they send."""
        return False
