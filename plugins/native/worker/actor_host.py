"""The actor that lives in a worker process: constructed once, then called, in one of three ways.

*Serial* (the default): calls run one after the other on the main thread. *Threaded* (max_concurrency > 1 or concurrency
groups): each group has its own threads. *Async* (the class has coroutine methods): calls run in an asyncio loop on the
main thread, which serves the connections as well; a plain method blocks the loop while it runs.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.death import Cause, DeathCertificate
from shoal.errors import ActorExit, TaskCancelled
from shoal.native.client.peers import Peer
from shoal.native.wire import kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.native.worker import calls
from shoal.native.worker.durable import DurableCalls
from shoal.native.worker.execution import Execution, running
from shoal.serial import dump_error, load_function
from shoal.spec.calls import BESIDE, CALL

if TYPE_CHECKING:
    from shoal.native.worker.async_calls import AsyncCalls
    from shoal.native.worker.worker import Worker

_CALL = CALL.name
_BESIDE = BESIDE.name
_ASYNC_DEFAULT = 1_000  # calls that an async actor runs at once unless told otherwise

Call = tuple[Peer, list[Any]]


class ActorHost:
    """One actor. `accept` takes calls (under the lock); `serve` is the main thread's life."""

    def __init__(self, worker: Worker, specification: dict[str, Any]) -> None:
        self._worker = worker
        self._specification = specification
        self.actor_id: bytes = specification["actor"]
        self.incarnation: int = specification["incarnation"]
        options = specification["options"]
        self.class_name: str = options["class_name"]
        self.is_async: bool = options["async"]
        self._concurrency: int = options["max_concurrency"]
        self._groups: dict[str, int] = options["groups"]
        self.name: str = specification["name"]
        self.namespace: str = specification["namespace"]
        self.is_serial = not self.is_async and self._concurrency == 1 and not self._groups
        self.restarted: bool = specification["restarted"]
        self.instance: Any = None
        self._methods: dict[str, Callable[..., Any]] = {}
        self._queue: deque[Call] = deque()  # serial calls, and all calls until the constructor has run
        self._threads: dict[str | None, queue.SimpleQueue[Call | None]] = {}
        self._beside: queue.SimpleQueue[Call | None] | None = None
        self._loop: AsyncCalls | None = None
        self.durable = None if options["durable"] is None else DurableCalls(worker, self, options["durable"])
        self._held: list[Any] = []  # references that the constructor's arguments came with

    # Messages; the lock is held

    def accept(self, peer: Peer, item: list[Any]) -> None:
        """Take a call."""
        if item[1] == _BESIDE:
            self._accept_beside((peer, item))
        elif self._loop is not None:
            self._loop.accept(peer, item)
        elif self._threads:
            self._threads[self.group_of(item)].put((peer, item))
        else:
            self._queue.append((peer, item))

    def _accept_beside(self, call: Call) -> None:
        """Have a call run beside the others: by a thread that starts with the first."""
        if self._beside is None:
            self._beside = queue.SimpleQueue()
            threading.Thread(
                target=self._serve_thread, args=(self._beside,), name=f"{self.class_name}-beside", daemon=True
            ).start()
        self._beside.put(call)

    def cancel_queued(self, peer: Peer, counter: int) -> bool:
        """Drop a call that was not started. Returns whether it was there."""
        for index, (other, item) in enumerate(self._queue):
            if other is peer and item[0] == counter:
                del self._queue[index]
                return True
        return False

    def cancel_async(self, execution: Execution) -> None:
        """Cancel an async call that runs."""
        if self._loop is not None:
            self._loop.cancel(execution)

    def stop(self) -> None:
        """The process is to exit."""
        if self._loop is not None:
            self._loop.stop()

    # The main thread

    def serve(self) -> None:
        """Construct the actor, then serve calls until told to exit."""
        worker = self._worker
        if not self._construct():
            worker.reactor.run_until(lambda: worker.exiting, time.monotonic() + 60)
            return
        if self.is_async:
            self._serve_async()
        elif self._concurrency > 1 or self._groups:
            self._serve_threads()
        elif self.durable is not None:
            self.durable.serve(self._queue)
        else:
            self._serve_serially()

    def _construct(self) -> bool:
        worker = self._worker
        specification = self._specification
        name = f"{self.class_name}.__init__"
        caller = worker.client.peers.get(specification["creator"]) if specification["creator"] else Peer(b"")
        worker.current = Execution(0, caller, name)
        try:
            captured = specification.get("captured") or ()
            with worker.reactor.lock:
                self._held = [worker.client.objects.adopt(object_id, 0) for object_id in captured]
            cls = load_function(specification["class"], self._held)
            if self.durable is None:
                self.instance = self._make(cls)
            else:
                self.durable.begin(cls, lambda: self._make(cls))
        except BaseException as error:  # user code may raise anything: it is the actor's death
            payload = dump_error(error, name, os.getpid(), worker.node_hex)
            with worker.reactor.lock:
                worker.client.tell_daemon([kinds.ACTOR_FAILED, self.actor_id, self.incarnation, payload])
                worker.reactor.flush()
            return False
        finally:
            worker.current = None
        with worker.reactor.lock:
            worker.client.tell_daemon([kinds.ACTOR_READY, self.actor_id, self.incarnation])
            worker.reactor.flush()
        return True

    def _make(self, cls: Any) -> Any:
        """Return a new instance, constructed with the actor's arguments."""
        worker = self._worker
        specification = self._specification
        args, kwargs, ids = calls.load_arguments(worker, specification["arguments"], specification["extra"])
        if ids:
            with worker.reactor.lock:
                self._held += [worker.client.objects.adopt(object_id, 0) for object_id in ids]
        instance = cls.__new__(cls)
        instance.__init__(*args, **kwargs)
        return instance

    def become(self, instance: Any) -> None:
        """Have calls run on this instance from now on."""
        self.instance = instance
        self._methods.clear()

    def _serve_serially(self) -> None:
        worker = self._worker
        reactor = worker.reactor
        pending = self._queue
        while not worker.exiting:
            reactor.run_until(lambda: bool(pending) or worker.exiting)
            worker.begin_gathering()
            while pending and not worker.exiting:
                peer, item = pending.popleft()
                self.run(peer, item, main=True)
                if pending:
                    worker.pace_answers()

    def _serve_async(self) -> None:
        from shoal.native.worker.async_calls import (
            AsyncCalls,
            run,
        )  # asyncio is large, and not all actors need it

        worker = self._worker
        size = self._concurrency if self._concurrency > 1 else _ASYNC_DEFAULT
        sizes: dict[str | None, int] = {None: size}
        sizes.update(self._groups.items())
        loop = AsyncCalls(worker, self, sizes)

        def begin() -> None:
            with worker.reactor.lock:
                self._loop = loop
                while self._queue:
                    loop.accept(*self._queue.popleft())

        run(loop.serve(begin), looking=worker.reactor.spin is not None)

    def _serve_threads(self) -> None:
        worker = self._worker
        sizes: dict[str | None, int] = {None: max(1, self._concurrency)}
        sizes.update(self._groups.items())
        with worker.reactor.lock:
            for group, size in sizes.items():
                calls_of_group: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
                self._threads[group] = calls_of_group
                for number in range(size):
                    threading.Thread(
                        target=self._serve_thread,
                        args=(calls_of_group,),
                        name=f"{self.class_name}-{group or 'default'}-{number}",
                        daemon=True,
                    ).start()
            while self._queue:
                peer, item = self._queue.popleft()
                self._threads[self.group_of(item)].put((peer, item))
        worker.reactor.run_until(lambda: worker.exiting)

    def _serve_thread(self, calls_of_group: queue.SimpleQueue[Call | None]) -> None:
        while (call := calls_of_group.get()) is not None:
            peer, item = call
            self.run(peer, item, main=False)
            if calls_of_group.empty():
                self._worker.flush()
            else:
                self._worker.reactor.nudge()

    def group_of(self, item: list[Any]) -> str | None:
        """Return the concurrency group of a call, None for the default one."""
        group = item[3].get("g") if item[3] else None
        if group is None:
            group = getattr(self.method(item[1]), "__shoal_concurrency_group__", None)
        return group if group in self._groups else None

    def method(self, name: str) -> Callable[..., Any]:
        """Return what a call of that name runs. Raises AttributeError."""
        method = self._methods.get(name)
        if method is None:
            method = self._call_function if name in (_CALL, _BESIDE) else getattr(self.instance, name)
            self._methods[name] = method
        return method

    def _call_function(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return function(self.instance, *args, **kwargs)

    def run(self, peer: Peer, item: list[Any], main: bool, answer: calls.Answer | None = None) -> None:
        """Run one call; its answer is sent, or given to `answer`."""
        worker = self._worker
        counter, name, payload, extra = item
        started = time.perf_counter()
        execution = Execution(counter, peer, f"{self.class_name}.{name}", extra.get("a", 0) if extra else 0)
        mode, count, backpressure = calls.mode_of(extra)
        if main:
            execution.thread = worker._main
            worker.current = execution
        else:
            running.set(execution)
            worker.executions[peer.worker_id, counter] = execution
        ids: list[bytes] | None = None
        args: Any = None
        kwargs: Any = None
        try:
            args, kwargs, ids = calls.load_arguments(worker, payload, extra)
            if main:
                worker._interruptible = counter
            try:
                value = self.method(name)(*args, **kwargs)
                if calls.is_generated(mode):
                    value = calls.run_generator(worker, execution, value, mode, backpressure)
            finally:
                worker._interruptible = 0
            args = kwargs = None
        except (ActorExit, SystemExit) as error:
            self.leave(error)
        except BaseException as error:  # user code may raise anything: it is the call's result
            args = kwargs = None
            if execution.cancelled and isinstance(error, KeyboardInterrupt):
                error = TaskCancelled(f"{execution.name} was cancelled while it ran")
            calls.send_error(worker, peer, counter, started, error, execution.name, ids, answer=answer)
        else:
            if main:
                worker.current = None
            calls.send_value(
                worker, peer, counter, started, value, mode, count, ids, execution.name, answer=answer
            )
            value = None
        finally:
            if main:
                worker.current = None
            else:
                worker.executions.pop((peer.worker_id, counter), None)
                running.set(None)

    def leave(self, error: BaseException) -> None:
        """exit_actor(), or sys.exit() in a method: the actor ends for good, its atexit functions run."""
        worker = self._worker
        if self.durable is not None:
            self.durable.finish()
        code = error.code if isinstance(error, SystemExit) else 0
        detail = (
            "exit_actor() was called" if isinstance(error, ActorExit) else f"sys.exit({code!r}) was called"
        )
        certificate = DeathCertificate(
            what="actor",
            identity=self.actor_id.hex(),
            name=self.class_name,
            node=worker.node_hex,
            process=os.getpid(),
            when=time.time(),
            cause=Cause.INTENDED_EXIT,
            detail=detail,
        )
        with worker.reactor.lock:
            worker.client.tell_daemon([kinds.ACTOR_EXITING, self.actor_id, plain_certificate(certificate)])
            worker.reactor.flush()
        atexit._run_exitfuncs()
        os._exit(code if isinstance(code, int) else 0)
