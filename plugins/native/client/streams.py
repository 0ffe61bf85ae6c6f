"""The caller's side of a streaming generator."""

from __future__ import annotations

import concurrent.futures
from collections import deque
from typing import TYPE_CHECKING, Any

from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator
from shoal.native.client.records import Record, Task
from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.client.client import Client


class Stream:
    """What has arrived of one generator and was not taken yet."""

    __slots__ = ("completed", "dropped", "finished", "items", "received", "taken", "task", "waiting")

    def __init__(self, task: Task, completed: ObjectRef[None]) -> None:
        self.task = task
        self.items: deque[ObjectRef[Any]] = deque()
        self.received = 0
        self.taken = 0
        self.finished = False
        self.dropped = False
        self.completed = completed
        self.waiting: deque[concurrent.futures.Future[ObjectRef[Any] | None]] = deque()


class Streams:
    """All streams of this process. Called with the lock held."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def open(self, task: Task) -> ObjectRefGenerator[Any]:
        """Begin to receive what a generator's task will yield."""
        client = self._client
        record = Record(client.object_id(task.counter, 0), True, task)
        task.returns = [record]
        stream = Stream(task, client.objects.ref(record))
        task.stream = stream
        task_id = client.worker_id + task.counter.to_bytes(8, "big")
        return ObjectRefGenerator(task_id, client.engine, stream, self._drop)

    def _drop(self, stream: Stream) -> None:
        """The generator object went away. May be called at any moment: only notes it."""
        stream.dropped = True
        self._client.reactor.call_soon_unlocked(lambda: self._end(stream))

    def _end(self, stream: Stream) -> None:
        if stream.finished or self._client.closed:
            stream.items.clear()
            return
        with self._client.reactor.lock:
            stream.items.clear()
            self._client.cancel_task(stream.task, False, False)

    def on_item(self, task: Task, index: int, value: list[Any]) -> None:
        """An item has arrived; one that came before (the task runs again) is passed over."""
        stream = task.stream
        if stream is None or index < stream.received:
            return
        client = self._client
        stream.received = index + 1
        record = Record(client.object_id(task.counter, index + 1), True, None)
        ref = client.objects.ref(record)
        status, payload, contained = value
        held = [client.objects.adopt(inner, 1) for inner in contained] if contained else None
        client.objects.complete(record, status, payload, held)
        if stream.dropped:
            return
        if stream.waiting:
            self._answer(stream.waiting.popleft(), ref)
            self._took(stream)
        else:
            stream.items.append(ref)

    def finish(self, task: Task, error: bytes | None) -> None:
        """The generator has ended; an error becomes one last item."""
        stream = task.stream
        if stream is None or stream.finished:
            return
        client = self._client
        if error is not None and not stream.dropped:
            record = Record(client.object_id(task.counter, stream.received + 1), True, None)
            ref = client.objects.ref(record)
            client.objects.complete(record, kinds.ERROR, error)
            if stream.waiting:
                self._answer(stream.waiting.popleft(), ref)
            else:
                stream.items.append(ref)
        stream.finished = True
        while stream.waiting:
            self._answer(stream.waiting.popleft(), None)

    def _answer(self, future: concurrent.futures.Future[Any], ref: ObjectRef[Any] | None) -> None:
        self._client.reactor.call_soon_unlocked(lambda: future.set_result(ref))

    def _took(self, stream: Stream) -> None:
        stream.taken += 1
        task = stream.task
        if task.function.backpressure and task.peer is not None and not stream.finished:
            self._client.peers.send(task.peer, [kinds.STREAM_READ, task.counter, stream.taken])

    def take(self, stream: Stream) -> ObjectRef[Any] | None:
        """Return the next reference if it is there."""
        if not stream.items:
            return None
        ref = stream.items.popleft()
        self._took(stream)
        return ref

    def next_future(self, stream: Stream) -> concurrent.futures.Future[ObjectRef[Any] | None]:
        """Return a future of the next reference, None at the end."""
        future: concurrent.futures.Future[ObjectRef[Any] | None] = concurrent.futures.Future()
        ref = self.take(stream)
        if ref is not None or stream.finished:
            future.set_result(ref)
        else:
            stream.waiting.append(future)
        return future
