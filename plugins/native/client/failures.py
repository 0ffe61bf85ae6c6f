"""What becomes of tasks whose worker died, that raised, or whose results or arguments were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from shoal.death import Cause, DeathCertificate
from shoal.errors import OutOfMemory, TaskCancelled, WorkerCrashed
from shoal.native.client import arguments
from shoal.native.client.peers import Peer
from shoal.native.client.records import Record, Task
from shoal.native.wire import kinds
from shoal.serial import dump_error, load_error

if TYPE_CHECKING:
    from shoal.native.client.client import Client
    from shoal.native.client.tasks import Tasks

_VERDICT_SECONDS = 5.0  # how long the daemon may take to say how a worker died


class Failures:
    """Retries and reconstruction of one process's tasks. Called with the lock held."""

    def __init__(self, client: Client, tasks: Tasks) -> None:
        self._client = client
        self._reactor = client.reactor
        self._tasks = tasks
        self._limbo: dict[bytes, list[Task]] = {}  # worker that died → its calls, until we know how
        client.objects.recover = self.recover

    def undecided(self) -> list[Task]:
        """Return the calls of dead workers whose fate is open."""
        return [task for tasks in self._limbo.values() for task in tasks]

    def may_retry(self, task: Task, payload: bytes) -> bool:
        if task.retries == 0:
            return False
        allowed = task.function.retry_exceptions
        if allowed is True:
            return True
        error = load_error(payload)
        return isinstance(error, tuple(allowed)) or isinstance(
            getattr(error, "original", None), tuple(allowed)
        )

    def retry(self, task: Task) -> None:
        if task.retries > 0:
            task.retries -= 1
        task.attempt += 1
        if task.actor is not None:
            task.actor.again(task)
        else:
            self.submit_again(task)

    def submit_again(self, task: Task) -> None:
        """Run a call anew: its arguments may have to be waited for again."""
        task.peer = None
        if task.slots is None or arguments.resolve(self._client, task, self._tasks.enqueue):
            self._tasks.enqueue(task)
        else:
            self._tasks.awaiting[task.counter] = task

    def argument_lost(self, task: Task, object_ids: list[bytes]) -> None:
        """A worker did not find arguments in the store: have them made again, then try again."""
        for _, ref in task.slots or ():
            if ref.record.object_id in object_ids:
                self._client.objects.lost(ref.record)
        task.attempt += 1
        if task.actor is not None:
            task.actor.again(task)
        else:
            self.submit_again(task)

    def recover(self, record: Record) -> bool:
        """The bytes of one of our objects are gone: run its task again if that is allowed."""
        task = record.task
        if task is None or task.retries == 0 or task.actor is not None:
            return False
        if task.retries > 0:
            task.retries -= 1
        task.attempt += 1
        for other in task.returns:
            if other is record or other.status != kinds.STORED:
                continue
            if not self._client.objects.is_had(other):
                other.status = None
        self.submit_again(task)
        return True

    def on_peer_gone(self, peer: Peer) -> None:
        """A worker's connection broke: its calls wait until the daemon says how it died."""
        lease = peer.lease
        if lease is None:
            return
        peer.lease = None
        if lease in lease.klass.leases:
            lease.klass.leases.remove(lease)
        tasks = list(peer.inflight.values())
        peer.inflight.clear()
        certificate = self._client.deaths.get(peer.worker_id)
        if certificate is not None:
            self._settle(tasks, *certificate)
            return
        self._limbo[peer.worker_id] = tasks
        self._reactor.call_later(_VERDICT_SECONDS, lambda: self._no_verdict(peer.worker_id, lease.lease_id))

    def _no_verdict(self, worker_id: bytes, lease_id: int) -> None:
        """The connection broke, but the daemon knows of no death: have it end the worker."""
        if worker_id in self._limbo:
            self._client.tell_daemon([kinds.RETURN, [[lease_id, True]]])
            self.on_worker_died(worker_id, None, 0)

    def on_worker_died(self, worker_id: bytes, certificate: DeathCertificate | None, started: int) -> None:
        """The daemon tells how a worker died, and which call it had started last."""
        tasks = self._limbo.pop(worker_id, None)
        if tasks is not None:
            self._settle(tasks, certificate, started)

    def _settle(self, tasks: list[Task], certificate: DeathCertificate | None, started: int) -> None:
        """Decide for each call of a dead worker: not started, to be tried again, or failed."""
        counters = [task.counter for task in tasks]
        if started in counters:
            ran = counters.index(started) + 1
        else:  # nobody knows (−1), nobody tells, or none of them was begun
            ran = len(tasks) if started < 0 or certificate is None else 0
        self._tasks.requeue(tasks[ran:])
        for task in tasks[:ran]:
            if task.cancelled:
                error: Exception = TaskCancelled(f"{task.function.name} was cancelled", certificate)
                self._tasks.finish_with_error(task, dump_error(error, task.function.name))
            elif certificate is not None and certificate.cause is Cause.PREEMPTED and task.actor is None:
                self._client.warn(
                    f"{task.function.name} was ended for a job of higher priority: {certificate.detail}"
                )
                task.attempt += 1  # and no retry less: it is not to blame
                self.submit_again(task)
            elif task.retries != 0:
                self._client.recorder.retried(task, str(_death_of(task, certificate)).partition("\n")[0])
                self.retry(task)
            else:
                self._tasks.finish_with_error(
                    task, dump_error(_death_of(task, certificate), task.function.name)
                )


def _death_of(task: Task, certificate: DeathCertificate | None) -> Exception:
    attempts = task.attempt + 1
    if certificate is None:
        return WorkerCrashed(f"the worker died while it ran {task.function.name}")
    certificate = attrs.evolve(certificate, name=task.function.name, attempts=attempts)
    if certificate.cause is Cause.OUT_OF_MEMORY:
        return OutOfMemory(
            f"{task.function.name} was ended because the machine ran out of memory", certificate
        )
    return WorkerCrashed(f"the worker died while it ran {task.function.name}", certificate)
