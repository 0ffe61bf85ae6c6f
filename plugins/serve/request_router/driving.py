"""How a dispatcher asks a router that may wait: in an event loop of the process, one task for each request."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError
from shoal.serve.context import DeploymentID, ReplicaID, replica_context_or_none
from shoal.serve.request_router.mixins import LocalityMixin
from shoal.serve.request_router.pending import PendingRequest, pending_of
from shoal.serve.request_router.replicas import RunningReplica
from shoal.serve.request_router.router import RequestRouter
from shoal.serve.routers.base import Candidate

if TYPE_CHECKING:
    from shoal.serve.dispatch import Call, Dispatcher
    from shoal.serve.policies import RequestRouterConfig

_log = logging.getLogger("shoal.serve")
_MAKE_SECONDS = 30.0


class _Loop:
    """The event loop of all routers of this process, in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="shoal-serve-routing", daemon=True).start()


_lock = threading.Lock()
_loops: list[_Loop] = []


def routing_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that routers of this process run in; begins it the first time."""
    with _lock:
        if not _loops:
            _loops.append(_Loop())
        return _loops[0].loop


class Routing:
    """The requests of one deployment that wait, and the router that is asked for each. Made under the dispatcher's
    lock.
    """

    def __init__(
        self, dispatcher: Dispatcher, cls: type[RequestRouter], config: RequestRouterConfig, node_id: str
    ) -> None:
        self._dispatcher = dispatcher
        self._loop = routing_loop()
        self._wrapped: dict[str, RunningReplica] = {}
        self._waiting: deque[tuple[Call, PendingRequest]] = deque()
        self._next: deque[tuple[Call, PendingRequest]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._names: dict[int, str] = {}  # of calls that run: their internal request's name
        self._fifo = bool(getattr(cls, "fifo", False))
        app, _, name = dispatcher.key.partition("#")

        async def make() -> RequestRouter:
            self._changed = asyncio.Event()
            more: dict[str, Any] = {"self_node_id": node_id} if issubclass(cls, LocalityMixin) else {}
            router = cls(
                deployment_id=DeploymentID(name, app),
                handle_source="REPLICA" if replica_context_or_none() is not None else "PROXY",
                initial_backoff_s=config.initial_backoff_s,
                backoff_multiplier=config.backoff_multiplier,
                max_backoff_s=config.max_backoff_s,
                **more,
            )
            router.initialize_state(**dict(config.request_router_kwargs))
            return router

        try:
            self.router = asyncio.run_coroutine_threadsafe(make(), self._loop).result(_MAKE_SECONDS)
        except TypeError as error:
            raise ConfigError(f"request_router_kwargs: {error}") from error
        except concurrent.futures.TimeoutError:
            raise ConfigError(f"{cls.__name__} was not made within {_MAKE_SECONDS:g} s") from None

    # From the dispatcher, in any thread

    def update(self, candidates: Sequence[Candidate]) -> None:
        """The replicas are these now."""
        self._loop.call_soon_threadsafe(self._update, list(candidates))

    def begin(self, call: Call) -> None:
        """Find a replica for a call, which waits in the dispatcher."""
        self._loop.call_soon_threadsafe(self._begin, call)

    def wake(self) -> None:
        """Something has changed: there may be room."""
        self._loop.call_soon_threadsafe(self._changed.set)

    def finished(self, call: Call, told: int | None) -> None:
        """A call is over; `told` is how many requests the replica says it has."""
        if call.candidate is not None:
            self._loop.call_soon_threadsafe(self._finished, id(call), call.candidate.replica_id, told)

    def lost(self, replica: str) -> None:
        """A replica has died."""
        self._loop.call_soon_threadsafe(
            self.router.on_replica_actor_died, ReplicaID.from_full_id_str(replica)
        )

    # In the event loop

    def _update(self, candidates: list[Candidate]) -> None:
        wrapped = {}
        for each in candidates:
            known = self._wrapped.get(each.replica_id)
            if known is None:
                known = self.router.create_replica_wrapper(each)
            known.update_replica_info(each)
            wrapped[each.replica_id] = known
        self._wrapped = wrapped
        self.router.update_replicas(list(wrapped.values()))
        self._changed.set()

    def _finished(self, number: int, replica: str, told: int | None) -> None:
        where = ReplicaID.from_full_id_str(replica)
        self.router.on_request_completed(where, self._names.pop(number, ""))
        if told is not None:
            self.router.on_new_queue_len_info(where, told)
        self._changed.set()

    def _begin(self, call: Call) -> None:
        one = call, pending_of(call.meta, call.args, call.kwargs, call.asked)
        self._waiting.append(one)
        self._next.append(one)
        self._more()

    def _more(self) -> None:
        self._waiting = deque(each for each in self._waiting if _waits(each[0]))
        self.router._pending = len(self._waiting)
        while self._next and len(self._tasks) < self.router.max_num_routing_tasks:
            call, request = self._next.popleft()
            task = self._loop.create_task(self._route(call, request))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        self.router._routing = len(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._more()

    async def _route(self, call: Call, request: PendingRequest) -> None:
        router = self.router
        wait = router.initial_backoff_s
        try:
            while _waits(call):
                self._changed.clear()
                candidates = list(router.curr_replicas.values())
                groups = await router.choose_replicas(candidates, request) if candidates else []
                request.routing_context.tries += 1
                if not self._send(call, request, groups):
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), wait)
                    wait = min(wait * router.backoff_multiplier, router.max_backoff_s)
        except Exception as error:  # the user's router may raise anything
            self._dispatcher.refuse(call, error)

    def _send(self, call: Call, request: PendingRequest, groups: Any) -> bool:
        """Send a call, or in order of arrival the one that has waited longest, to the first replica with room."""
        for group in groups:
            for replica in self.router.in_order(group):
                oldest = (
                    next((each for each in self._waiting if _waits(each[0])), None) if self._fifo else None
                )
                one, asked = oldest or (call, request)
                if not self._dispatcher.send_to(one, replica.replica_id.to_full_id_str()):
                    continue
                self._names[id(one)] = asked.metadata.internal_request_id
                self.router.on_send_request(replica.replica_id)
                self.router.on_request_routed(asked, replica.replica_id, one.ref)
                if not asked.future.done():
                    asked.future.set_result(replica)
                return True
        return False


def _waits(call: Call) -> bool:
    return call.ref is None and not call.over and call.candidate is None
