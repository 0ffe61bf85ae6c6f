"""How one process calls one deployment: which replica, how many at once, and what waits. Used under its own lock."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

import shoal
from shoal.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from shoal.serve.messages import DeploymentSeen
from shoal.serve.policies import RequestRouterConfig
from shoal.serve.request_router.driving import Routing
from shoal.serve.request_router.router import RequestRouter
from shoal.serve.routers.base import Asked, Candidate, Router
from shoal.serve.routers.loading import make_router, router_class

_MODELS = 16  # of one replica that a caller remembers
RESERVE = "reserve"  # the kind of a call that holds room at a replica, and sends nothing
_REAP_AT = 256  # calls whose ends nobody has looked at


class Call:
    """One request on its way. `ref` is what the replica answers with, as soon as there is a replica."""

    __slots__ = ("args", "asked", "candidate", "kind", "kwargs", "meta", "over", "ref", "streams", "waiter")

    def __init__(
        self, kind: str, meta: Any, args: tuple[Any, ...], kwargs: dict[str, Any], asked: Asked, streams: bool
    ) -> None:
        self.kind = kind
        self.meta = meta
        self.args = args
        self.kwargs = kwargs
        self.asked = asked
        self.streams = streams
        self.ref: Any = None
        self.candidate: _Slot | None = None
        self.over = False
        self.waiter: concurrent.futures.Future[Any] | None = None


@attrs.define(eq=False)
class _Slot(Candidate):
    """A candidate with its actor."""

    actor: Any = None  # its handle
    methods: dict[str, Any] = attrs.field(factory=dict)

    def note_model(self, name: str) -> None:
        """Remember that a model was asked for there, the last few of them."""
        known = [each for each in self.models if each != name]
        self.models = (*known[-(_MODELS - 1) :], name)


class Dispatcher:
    """Sends the calls of this process to the replicas of one deployment."""

    def __init__(self, engine: Any, key: str, node_id: str, wake: Callable[[], None]) -> None:
        self.engine = engine
        self.key = key
        self.version = -1  # of what is known
        self.lock = threading.RLock()
        self._node_id = node_id
        self._wake = wake
        self._seen = DeploymentSeen()
        self._slots: dict[str, _Slot] = {}
        self._order: list[_Slot] = []
        self._router: Router | None = None
        self._router_config: Any = None
        self._routing: Routing | None = None  # in the place of a router, one that may wait
        self.pending: deque[Call] = deque()
        self._flying: dict[int, Call] = {}
        self._reap_at = _REAP_AT
        self.is_known = threading.Event()

    # What the controller tells

    def apply(self, version: int, seen: DeploymentSeen) -> None:
        """Take note of the deployment's replicas as they are now."""
        failed: list[tuple[Call, Exception]] = []
        with self.lock:
            self.version, self._seen = version, seen
            if self._router_config != seen.router:
                self._make_router(seen.router)
            slots: dict[str, _Slot] = {}
            for each in seen.replicas:
                slot = self._slots.get(each.replica_id)
                if slot is None:
                    slot = _Slot(
                        replica_id=each.replica_id,
                        node_id=each.node_id,
                        max_ongoing=each.max_ongoing,
                        is_local=each.node_id == self._node_id,
                    )
                    slot.actor = each.actor
                slot.max_ongoing = each.max_ongoing
                slot.stats = each.stats
                slots[each.replica_id] = slot
            self._slots, self._order = slots, list(slots.values())
            for router in (self._router, self._routing):
                if router is not None:
                    router.update(self._order)
            if seen.gone:
                error = DeploymentUnavailableError(self.key, seen.gone)
                failed = [(call, error) for call in self.pending]
                self.pending.clear()
            self.is_known.set()
            self._drain()
        for call, why in failed:
            _fail(call, why)

    def _make_router(self, config: RequestRouterConfig) -> None:
        cls = router_class(config)
        if issubclass(cls, RequestRouter):
            self._router, self._routing = None, Routing(self, cls, config, self._node_id)
            for call in self.pending:
                self._routing.begin(call)
        else:
            self._router, self._routing = make_router(config), None
        self._router_config = config

    @property
    def replicas(self) -> list[_Slot]:
        """The replicas that are known."""
        return self._order

    @property
    def seen(self) -> DeploymentSeen:
        """What the controller told last."""
        return self._seen

    # Calls

    def start(self, call: Call) -> None:
        """Send a call, or let it wait for room.

        Raises BackPressureError, DeploymentUnavailableError, and what sending raises.
        """
        with self.lock:
            if self._seen.gone and self.is_known.is_set():
                raise DeploymentUnavailableError(self.key, self._seen.gone)
            if len(self._flying) >= self._reap_at:
                self._reap()
                self._reap_at = max(_REAP_AT, 2 * len(self._flying))
            if not self.pending:
                slot = self._choose(call)
                if slot is None and self._flying and self._reap():
                    slot = self._choose(call)
                if slot is not None:
                    self._send(call, slot)
                    return
            most = self._seen.max_queued
            if 0 <= most <= len(self.pending):
                told = self._seen.backpressure
                raise BackPressureError(len(self.pending), most, told.status_code, told.retry_after_s)
            call.waiter = call.waiter or concurrent.futures.Future()
            self.pending.append(call)
            if self._routing is not None:
                self._routing.begin(call)
        self._wake()

    def send_to(self, call: Call, replica: str) -> bool:
        """Send a call that waits to a replica, if it has room. False: it has none, or is gone, or the call is over."""
        with self.lock:
            slot = self._slots.get(replica)
            if slot is None or not slot.has_room or call not in self.pending:
                return False
            self.pending.remove(call)
            try:
                self._send(call, slot)
            except Exception as error:  # what the arguments do when they are pickled
                _fail(call, error)
            return True

    def refuse(self, call: Call, error: Exception) -> None:
        """End a call that waits with an error."""
        with self.lock:
            if call in self.pending:
                self.pending.remove(call)
        if call.ref is None:
            _fail(call, error)

    def dispatch(self, held: Call, call: Call) -> None:
        """Send a call where another of the kind "reserve" holds room. Raises what sending raises."""
        with self.lock:
            slot = held.candidate
            assert slot is not None, "it has been chosen"
            self._finish(held)
            self._send(call, slot)

    def _choose(self, call: Call) -> _Slot | None:
        if not self._order or self._router is None:
            return None
        chosen: Any = self._router.choose(self._order, call.asked)
        return chosen  # type: ignore[no-any-return]

    def _send(self, call: Call, slot: _Slot) -> None:
        if call.kind == RESERVE:
            call.candidate = slot
            slot.ongoing += 1
            if call.waiter is not None and call.waiter.set_running_or_notify_cancel():
                call.waiter.set_result(slot)
            return
        method = slot.methods.get(call.kind)
        if method is None:
            method = getattr(slot.actor, call.kind)
            if call.streams:
                method = method.options(num_returns="streaming")
            slot.methods[call.kind] = method
        call.candidate = slot
        slot.ongoing += 1
        try:
            call.ref = method.remote(call.meta, *call.args, **call.kwargs)
        except BaseException:
            slot.ongoing -= 1
            call.over = True
            raise
        self._flying[id(call)] = call
        if call.asked.multiplexed_model_id:
            slot.note_model(call.asked.multiplexed_model_id)
        waiter = call.waiter
        if waiter is not None and waiter.set_running_or_notify_cancel():
            waiter.set_result(call.ref)

    def start_when(
        self, call: Call, before: list[concurrent.futures.Future[Any]], ready: Callable[[], None]
    ) -> None:
        """Send a call when other calls have their replicas; `ready` then puts their references into its arguments."""
        call.waiter = concurrent.futures.Future()
        left = [len(before)]

        def one_more(done: concurrent.futures.Future[Any]) -> None:
            with self.lock:
                left[0] -= 1
                if left[0]:
                    return
            try:
                for each in before:
                    each.result()
                ready()
                self.start(call)
            except BaseException as error:  # a call before it was refused or cancelled: so is this one
                _fail(call, error)

        for each in before:
            each.add_done_callback(one_more)

    def finished(self, call: Call, told: int | None = None) -> None:
        """Take note that a call is over, and of how many the replica has besides."""
        with self.lock:
            if call.over:
                return
            self._finish(call)
            slot = call.candidate
            if told is not None and slot is not None:
                slot.told = max(0, told - slot.ongoing - 1)
            if self._routing is not None:
                self._routing.finished(call, told)
            if self.pending:
                self._drain()

    def _finish(self, call: Call) -> None:
        call.over = True
        self._flying.pop(id(call), None)
        if call.candidate is not None:
            call.candidate.ongoing -= 1

    def cancel(self, call: Call) -> bool:
        """Take a call that waits out of the line. Returns False if it was sent already."""
        with self.lock:
            if call.ref is not None or call not in self.pending:
                return False
            self.pending.remove(call)
            call.over = True
        _fail(call, RequestCancelledError(call.meta[1]))
        return True

    def lost(self, call: Call) -> None:
        """The replica of a call has died: none other goes there."""
        with self.lock:
            slot = call.candidate
            if slot is not None and self._slots.get(slot.replica_id) is slot:
                del self._slots[slot.replica_id]
                self._order = list(self._slots.values())
                if self._routing is not None:
                    self._routing.lost(slot.replica_id)
        self.finished(call)

    def _drain(self) -> None:
        if self._routing is not None:
            self._routing.wake()
            return
        while self.pending:
            call = self.pending[0]
            try:
                slot = self._choose(call)
                if slot is None:
                    return
                self.pending.popleft()
                self._send(call, slot)
            except Exception as error:  # of the router, or what the arguments do when they are pickled
                if self.pending and self.pending[0] is call:
                    self.pending.popleft()
                _fail(call, error)
                continue

    # Calls whose ends nobody waits for

    def _reap(self) -> bool:
        """Look which calls are over. Returns whether any was."""
        done = ready_now({_end_of(call): call for call in self._flying.values()})
        for call in done:
            self._finish(call)
            if self._routing is not None:
                self._routing.finished(call, None)
        return bool(done)

    def reap(self) -> None:
        """Look which calls are over, and send what waits for them."""
        with self.lock:
            if self._reap() or self.pending:
                self._drain()

    def unfinished(self) -> list[Any]:
        """Return references that are ready when calls are over."""
        with self.lock:
            return [_end_of(call) for call in self._flying.values()]

    def fail_all(self, why: str) -> None:
        """Nothing will come any more."""
        with self.lock:
            waiting = list(self.pending)
            self.pending.clear()
        for call in waiting:
            _fail(call, DeploymentUnavailableError(self.key, why))


def _end_of(call: Call) -> Any:
    return call.ref.completed() if call.streams else call.ref


def ready_now(calls: dict[Any, Call]) -> list[Call]:
    """Return the calls whose references are ready."""
    if not calls:
        return []
    refs = list(calls)
    ready, _ = shoal.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
    return [calls[ref] for ref in ready]


def _fail(call: Call, error: BaseException) -> None:
    call.over = True
    waiter = call.waiter
    if waiter is not None and not waiter.done() and waiter.set_running_or_notify_cancel():
        waiter.set_exception(error)
