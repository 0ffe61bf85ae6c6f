"""Leases of workers as their user sees them: asked for by scheduling class, given back when idle or contended."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from shoal.errors import PlacementGroupRemoved, RuntimeEnvSetup, TaskUnschedulable
from shoal.native.client.functions import SchedulingClass
from shoal.native.client.peers import Peer
from shoal.native.wire import kinds
from shoal.native.wire.nodes import number_of
from shoal.serial import dump_error

if TYPE_CHECKING:
    from shoal.native.client.client import Client
    from shoal.native.client.tasks import Tasks

MOST_WANTED = 4_096
_LOOKED_AT = 8  # calls whose arguments are weighed


class Lease:
    """A worker that this process may use."""

    __slots__ = ("draining", "grant", "granted_at", "idle_since", "klass", "lease_id", "paused", "peer")

    def __init__(self, lease_id: int, klass: SchedulingClass, peer: Peer, now: float) -> None:
        self.lease_id = lease_id
        self.klass = klass
        self.peer = peer
        self.granted_at = now
        self.idle_since = now
        self.paused = False  # its worker handed calls back: it gets none until it has answered
        self.draining = False  # to be given back when it has answered


class Leases:
    """All leases of one process. Called with the lock held."""

    def __init__(self, client: Client, tasks: Tasks) -> None:
        self._client = client
        self._reactor = client.reactor
        self._tasks = tasks
        self.contended = False  # others wait for leases
        self._sweeping = False

    def demand(self, klass: SchedulingClass) -> None:
        """Tell the daemon how many leases more would be of use, if that has changed enough to matter."""
        need = min(len(klass.queue), MOST_WANTED)
        wanted = klass.wanted
        if need and wanted and wanted <= need < 2 * wanted and wanted > 64:
            return
        if need == wanted:
            return
        klass.wanted = need
        wire, klass.wire = klass.wire, None
        where = self._where_arguments_lie(klass) if self._client.peers.in_cluster else {}
        self._client.tell_daemon([kinds.DEMAND, klass.key, need, self._client.depth, wire, where])

    def _where_arguments_lie(self, klass: SchedulingClass) -> dict[int, int]:
        """Return the bytes of stored arguments by node, of the calls that will be sent next."""
        where: dict[int, int] = {}
        for task in itertools.islice(klass.queue, _LOOKED_AT):
            for _, ref in task.slots or ():
                if ref.record.status == kinds.STORED:
                    size, creator = ref.record.payload
                    number = number_of(creator)
                    where[number] = where.get(number, 0) + size
        return where

    def on_lease(self, message: list[Any]) -> None:
        """The daemon grants a worker."""
        _, key, lease_id, worker_id, grant = message
        klass = self._tasks.classes[key]
        klass.wanted = max(0, klass.wanted - 1)
        klass.problem = ""
        if not klass.queue:
            self._client.tell_daemon([kinds.RETURN, [[lease_id, False]]])
            return
        peer = self._client.peers.get(worker_id)
        lease = Lease(lease_id, klass, peer, time.monotonic())
        peer.lease = lease
        klass.leases.append(lease)
        self._client.peers.send(peer, [kinds.LEASE_BEGIN, lease_id, grant])
        self._tasks.dispatch(klass)
        self._watch_idle()

    def on_reclaim(self, contended: bool) -> None:
        """Others wait for leases (or no longer do): give back those without work."""
        self.contended = contended
        if contended:
            self._return_idle(0.0)

    def _watch_idle(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._reactor.call_later(self._client.config.lease_idle_seconds, self._sweep_idle)

    def _sweep_idle(self) -> None:
        self._sweeping = False
        self._return_idle(self._client.config.lease_idle_seconds)
        if any(klass.leases for klass in self._tasks.classes.values()):
            self._watch_idle()

    def _return_idle(self, older_than: float) -> None:
        now = time.monotonic()
        for klass in self._tasks.classes.values():
            for lease in list(klass.leases):
                if not lease.peer.inflight and now - lease.idle_since >= older_than:
                    self.end(lease)

    def end(self, lease: Lease, worker_must_end: bool = False) -> None:
        if lease in lease.klass.leases:
            lease.klass.leases.remove(lease)
        lease.peer.lease = None
        self._client.peers.send(lease.peer, [kinds.LEASE_END, lease.lease_id])
        self._client.tell_daemon([kinds.RETURN, [[lease.lease_id, worker_must_end]]])

    def on_class_state(self, message: list[Any]) -> None:
        """The daemon cannot serve a class, or can again."""
        _, key, state, text, certificate = message
        klass = self._tasks.classes[key]
        klass.problem = "" if state == "feasible" else state
        klass.message = text
        if state in ("feasible", "infeasible"):
            if state == "infeasible" and self._client.config.infeasible == "error":
                self._fail_class(klass, TaskUnschedulable(text))
            elif state == "infeasible":
                self._client.warn(f"{klass.queue[0].function.name if klass.queue else 'a task'}: {text}")
            return
        cause = self._client.read_certificate(certificate)
        if state == "failed":
            self._fail_class(klass, RuntimeEnvSetup(text, cause))
        else:
            self._fail_class(klass, PlacementGroupRemoved(text, cause))

    def _fail_class(self, klass: SchedulingClass, error: Exception) -> None:
        tasks = list(klass.queue)
        klass.queue.clear()
        self.demand(klass)
        payload = dump_error(error, "submit")
        for task in tasks:
            self._tasks.finish_with_error(task, payload)
