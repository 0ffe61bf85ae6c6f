"""Submitting tasks: workers are leased by scheduling class, and get as many calls at once as their speed suggests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shoal.errors import TaskCancelled
from shoal.interfaces.refs import DynamicObjectRefGenerator, ObjectRef
from shoal.native.client import arguments
from shoal.native.client.failures import Failures
from shoal.native.client.functions import DYNAMIC, NONE, SINGLE, STREAMING, PreparedFunction, SchedulingClass
from shoal.native.client.leases import MOST_WANTED, Leases
from shoal.native.client.peers import Peer
from shoal.native.client.recording import MOST_FRESH
from shoal.native.client.records import Record, Task
from shoal.native.client.values import NONE_PICKLE, encode
from shoal.native.wire import kinds
from shoal.serial import dump_error, load_error
from shoal.spec.calls import TaskTemplate

if TYPE_CHECKING:
    from shoal.native.client.client import Client

_BATCH = 64  # calls in one message
_GATHER_SECONDS = 0.0003  # how long calls may gather before they are sent
_TARGET_MICROSECONDS = 1_000.0  # work that may wait at one worker
_DEEPEST = 512  # calls that may wait at one worker
_SLICE_SECONDS = 0.1  # how long a lease lasts while others wait for one


def _size_of(item: list[Any]) -> int:
    """Return about how many bytes an answer is."""
    status, payload = item[2], item[3]
    if status == kinds.MANY:
        return sum(_size_of([0, 0, *value]) for value in payload)
    size: int = payload[0] if status == kinds.STORED else len(payload) if isinstance(payload, bytes) else 0
    return size


class Tasks:
    """The task submitter of one process. Methods take the lock themselves where their text says so."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reactor = client.reactor
        self.classes: dict[bytes, SchedulingClass] = {}
        self.awaiting: dict[int, Task] = {}  # calls that wait for the values of arguments
        self._batching: list[Peer] = []
        self._sent_at = 0.0
        self.leases = Leases(client, self)
        self.failures = Failures(client, self)
        client.reactor.gatherers.append(self._gather)

    def scheduling_class(self, key: bytes, wire: dict[str, Any]) -> SchedulingClass:
        """Return the class with that key, made if it is new."""
        klass = self.classes.get(key)
        if klass is None:
            klass = self.classes[key] = SchedulingClass(key, wire)
        return klass

    # Submitting

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submit one call; return its reference(s). Takes the lock."""
        client = self._client
        prepared = template.prepared
        if prepared is None or prepared[0] is not client:
            prepared = template.prepared = (client, PreparedFunction(client, template))
        function: PreparedFunction = prepared[1]
        task = arguments.make_task(client, function, function.function, args, kwargs)
        task.retries = function.max_retries
        execution = client.execution()
        if execution is not None:
            task.parent = execution.counter
            task.caller = execution.peer.worker_id + execution.counter.to_bytes(8, "big")
            task.depth = client.depth
        with self._reactor.lock:
            if client.objects.has_dropped:
                client.objects.collect()
            result = self.make_returns(task, function)
            if task.slots is None or arguments.resolve(client, task, self.enqueue):
                self.enqueue(task)
            else:
                self.awaiting[task.counter] = task
        return result

    def make_returns(self, task: Task, function: Any) -> Any:
        """Make the records of a call's results; return the reference(s) to them."""
        client = self._client
        mode = function.mode
        if client.records_call_sites:
            client.note_call_site(client.object_id(task.counter, 0))
        if mode in (SINGLE, DYNAMIC):
            record = Record(client.object_id(task.counter, 0), True, task)
            task.returns.append(record)
            record.local = 1
            return ObjectRef(record.object_id, client.engine, record, client.objects.drop)
        if mode == NONE:
            return None
        if mode == STREAMING:
            return client.streams.open(task)
        # There may be thousands: what is the same for all is looked up once.
        prefix, engine, drop = client.object_id(task.counter, 0)[:-4], client.engine, client.objects.drop
        refs: list[ObjectRef[Any]] = []
        for index in range(function.count):
            object_id = prefix + index.to_bytes(4, "big")
            record = Record(object_id, True, task)
            record.local = 1
            task.returns.append(record)
            refs.append(ObjectRef(object_id, engine, record, drop))
        return refs

    def enqueue(self, task: Task) -> None:
        """Its arguments are there: send it, or let it wait for a lease."""
        if task.slots is not None:
            self.awaiting.pop(task.counter, None)
        if task.cancelled:
            return
        if task.slots is not None:
            failed = arguments.failed_argument(task)
            if failed is not None:
                self.finish_with_error(task, failed.payload)
                return
        klass: SchedulingClass = task.function.klass
        queue = klass.queue
        if not queue:
            for lease in klass.leases:
                if len(lease.peer.inflight) < klass.depth and not lease.paused and not lease.draining:
                    self._send(lease.peer, task)
                    self.flush_soon(lease.peer)
                    return
        queue.append(task)
        if klass.wanted < len(queue) and klass.wanted < MOST_WANTED:
            self.leases.demand(klass)

    def flush_soon(self, peer: Peer) -> None:
        """Send at once to a worker with nothing to do; else let calls gather, but not for long."""
        batch = peer.batch
        if len(peer.inflight) == 1 or len(batch) >= _BATCH:
            self._reactor.flush_soon()
            self._sent_at = time.monotonic()
            return
        if len(batch) & 7 == 0:
            now = time.monotonic()
            if now - self._sent_at > _GATHER_SECONDS:
                self._reactor.flush()
                self._sent_at = now
                return
        self._reactor.nudge()

    def _send(self, peer: Peer, task: Task) -> None:
        function = task.function
        peer.inflight[task.counter] = task
        task.peer = peer
        if function.key not in peer.functions:
            self._gather()  # what waits already goes first: messages keep their order
            function.announce(self._client, peer)
        extra = None if task.extra is None else arguments.extra_for(self._client, task)
        if task.attempt:
            extra = extra or {}
            extra["a"] = task.attempt
        if not peer.batch:
            self._batching.append(peer)
            self._reactor.pending = True
        peer.batch.append([task.counter, function.key, task.payload, extra])

    def _gather(self) -> None:
        batching = self._batching
        if not batching:
            return
        self._batching = []
        if not self._client.recorder.armed:
            self._client.recorder.arm()
        for peer in batching:
            batch = peer.batch
            if batch:
                peer.batch = []
                self._client.peers.send(peer, [kinds.TASKS, batch])

    def dispatch(self, klass: SchedulingClass) -> None:
        """Give queued calls to the leases that have room."""
        queue = klass.queue
        if queue:
            depth = klass.depth
            contended = self.leases.contended
            for lease in list(klass.leases):
                if lease.paused or lease.draining:
                    continue
                if contended and time.monotonic() - lease.granted_at > _SLICE_SECONDS:
                    lease.draining = True
                    if not lease.peer.inflight:
                        self.leases.end(lease)  # no answer is to come that would end it
                    continue
                peer = lease.peer
                inflight = peer.inflight
                while queue and len(inflight) < depth:
                    task = queue.popleft()
                    if not task.cancelled:
                        self._send(peer, task)
                if not queue:
                    break
            if len(queue) > klass.wanted and klass.wanted < MOST_WANTED:
                self.leases.demand(klass)
        elif klass.wanted:
            self.leases.demand(klass)

    # Results

    def on_results(self, peer: Peer, message: list[Any]) -> None:
        """Answers of a worker, in the order it finished them."""
        inflight = peer.inflight
        items = message[1]
        total = 0
        client = self._client
        recorder = client.recorder
        fresh = recorder.fresh
        task = None
        now = time.time()
        observing = client.observing if client.observing is not None and client.observing.tasks else None
        for item in items:
            task = inflight.pop(item[0], None)
            if task is None:
                continue
            if task.sequence:
                task.actor.settled(task, _size_of(item))
            duration = item[1]
            total += duration
            status = item[2]
            # Not the task itself: with it the timeline would keep arguments and references alive.
            fresh.append(
                (
                    task.function.name,
                    task.attempt,
                    b"" if task.actor is None else task.actor.actor_id,
                    peer.worker_id,
                    now,
                    duration,
                    status,
                    item[0],
                    task.created,
                    task.caller,
                    item[3] if status == kinds.ERROR else "",
                )
            )
            if observing is not None:
                observing.task_finished(task, peer.worker_id, now, item)
            if (
                status <= kinds.PACKED
                and len(item) == 4
                and task.stream is None
                and task.function.mode == SINGLE
            ):
                record = task.returns[0]
                record.task = None
                task.peer = None
                if task.large is not None:
                    self._drop_large(task)
                if record.watchers is None and record.borrowers is None and record.local:
                    record.status = status
                    record.payload = item[3]
                    if record.object_id in client.objects._subscribers:
                        client.objects.complete(record, status, item[3])
                else:
                    client.objects.complete(record, status, item[3])
            else:
                self._finish(peer, task, item)
        if not recorder.armed:
            recorder.arm()
        elif len(fresh) > MOST_FRESH:
            recorder.take()
        lease = peer.lease
        if lease is not None:
            klass = lease.klass
            self._measure(klass, total, len(items))
            if not inflight:
                lease.paused = False
                lease.idle_since = time.monotonic()
                if lease.draining or (self.leases.contended and not klass.queue):
                    self.leases.end(lease)
            if klass.queue or klass.wanted:
                self.dispatch(klass)
        elif task is not None and task.actor is not None:
            task.actor.answered()

    def _measure(self, klass: SchedulingClass, total: float, count: int) -> None:
        latest = total / count
        average = klass.average
        klass.average = average = latest if average < 0 else average + (latest - average) * 0.25
        klass.depth = max(1, min(_DEEPEST, int(_TARGET_MICROSECONDS / (average + 1.0))))

    def _finish(self, peer: Peer, task: Task, item: list[Any]) -> None:
        """An answer that is not just one small value: [counter, duration, status, payload, more]."""
        status, payload = item[2], item[3]
        more = item[4] if len(item) > 4 else {}
        client = self._client
        for object_id in more.get("kept", ()):
            record = client.objects.find(object_id)
            if record is not None:
                client.objects.add_borrower(record, peer.worker_id)
        task.peer = None
        if more.get("end"):
            self._worker_ends(peer)
        if status == kinds.ERROR:
            if more.get("lost"):
                self.failures.argument_lost(task, more["lost"])
                return
            if task.cancelled:
                payload = dump_error(TaskCancelled(f"{task.function.name} was cancelled"), task.function.name)
            elif task.function.retry_exceptions and self.failures.may_retry(task, payload):
                self.failures.retry(task)
                return
            self.finish_with_error(task, payload, recorded=True)
            return
        if task.stream is not None:
            client.streams.finish(task, None)
            payload = NONE_PICKLE
        values = payload if status == kinds.MANY else [[status, payload, more.get("contained")]]
        if task.function.mode == DYNAMIC:
            values = [self._dynamic_value(task, payload)]
        keep = False
        for record, (value_status, value, contained) in zip(task.returns, values, strict=False):
            held = [client.objects.adopt(inner, 1) for inner in contained] if contained else None
            if record.status is not None:
                continue
            if value_status == kinds.STORED and record.local and task.actor is None:
                keep = True  # its lineage: the call can be made again
            else:
                record.task = None
            client.objects.complete(record, value_status, value, held)
        if not keep:
            self._forget(task)

    def _worker_ends(self, peer: Peer) -> None:
        """The worker has served max_calls and leaves."""
        lease = peer.lease
        if lease is not None:
            self.requeue(list(peer.inflight.values()))
            peer.inflight.clear()
            self.leases.end(lease, worker_must_end=True)

    def _dynamic_value(self, task: Task, count: int) -> list[Any]:
        client = self._client
        refs = []
        for index in range(count):
            record = client.objects.find(client.object_id(task.counter, index + 1))
            if record is not None:
                refs.append(client.objects.ref(record))
        value: DynamicObjectRefGenerator[Any] = DynamicObjectRefGenerator(refs)
        status, payload, inside = encode(client, value, client.object_id(next(client.counters), 0))
        client.dynamic_items.pop(task.counter, None)
        return [status, payload, client.objects.export(inside or ())]

    def _forget(self, task: Task) -> None:
        """Let go of what the call held."""
        if task.large is not None:
            self._drop_large(task)
        task.slots = None
        task.held = None

    def _drop_large(self, task: Task) -> None:
        record, task.large = task.large, None
        if record is not None:
            self._client.store.delete(record.object_id)

    def finish_with_error(self, task: Task, payload: bytes, recorded: bool = False) -> None:
        """Make an error, pickled already, the result of a call. `recorded`: a worker has answered."""
        client = self._client
        if not recorded:
            client.recorder.failed(task, payload)
        if task.sequence:
            task.actor.settled(task)
        if task.stream is not None:
            client.streams.finish(task, payload)
        for record in task.returns:
            if record.status is None:
                record.task = None
                client.objects.complete(record, kinds.ERROR, payload)
        self._forget(task)
        if task.function.mode == NONE:
            client.warn(f"{task.function.name} failed and has no result to tell it: {load_error(payload)}")

    def on_stream_item(self, peer: Peer, message: list[Any]) -> None:
        """An item of a generator."""
        _, counter, index, value = message
        task = peer.inflight.get(counter)
        if task is None:
            return
        if task.stream is not None:
            self._client.streams.on_item(task, index, value)
        else:
            self._dynamic_item(task, index, value)

    def _dynamic_item(self, task: Task, index: int, value: list[Any]) -> None:
        client = self._client
        record = Record(client.object_id(task.counter, index + 1), True, None)
        ref = client.objects.ref(record)
        client.objects.export((ref,))
        client.dynamic_items.setdefault(task.counter, []).append(ref)
        status, payload, contained = value
        held = [client.objects.adopt(inner, 1) for inner in contained] if contained else None
        client.objects.complete(record, status, payload, held)

    def on_handed_back(self, peer: Peer, message: list[Any]) -> None:
        """A worker blocks or works long: calls that it has not started come back."""
        tasks = [task for counter in message[1] if (task := peer.inflight.pop(counter, None)) is not None]
        lease = peer.lease
        self.requeue(tasks)
        if lease is not None:
            lease.paused = bool(peer.inflight)
            lease.klass.average = max(lease.klass.average, _TARGET_MICROSECONDS)
            lease.klass.depth = 1
            self.dispatch(lease.klass)

    def requeue(self, tasks: list[Task]) -> None:
        """Put calls that did not start back to the front."""
        for task in reversed(tasks):
            task.peer = None
            if not task.cancelled:
                task.function.klass.queue.appendleft(task)
        for klass in {task.function.klass for task in tasks if task.actor is None}:
            if len(klass.queue) > klass.wanted:
                self.leases.demand(klass)

    # Cancelling and looking in

    def cancel_queued(self, task: Task) -> bool:
        """Take a call back that was not sent. Returns False if it was."""
        if task.peer is not None:
            return False
        task.cancelled = True
        payload = dump_error(
            TaskCancelled(f"{task.function.name} was cancelled before it started"), task.function.name
        )
        self.finish_with_error(task, payload)
        return True

    def unfinished(self) -> list[Task]:
        """Return every task that has not ended, arguments that wait for values aside."""
        tasks: list[Task] = []
        for klass in self.classes.values():
            tasks.extend(klass.queue)
            for lease in klass.leases:
                tasks.extend(lease.peer.inflight.values())
        return tasks

    def fail_all(self, error: Exception) -> None:
        """The session is over: everything unfinished fails."""
        payload = dump_error(error, "shoal")
        for task in [*self.unfinished(), *self.failures.undecided()]:
            self.finish_with_error(task, payload)
        for klass in self.classes.values():
            klass.queue.clear()
