"""A worker process: takes calls from its callers, runs them in order on the main thread, answers in batches."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.death import Cause, DeathCertificate
from shoal.errors import ActorExit, TaskCancelled
from shoal.ids import PlacementGroupID
from shoal.native.client.client import Client
from shoal.native.client.peers import Peer
from shoal.native.process.environments import users_part
from shoal.native.process.page import write_name
from shoal.native.transport.connection import Message
from shoal.native.wire import kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.native.worker import calls
from shoal.native.worker.execution import Execution, running
from shoal.serial import load_function
from shoal.spec.calls import ExecutionContext
from shoal.spec.strategy import DefaultStrategy, PlacementGroupStrategy, Strategy

if TYPE_CHECKING:
    from shoal.native.worker.actor_host import ActorHost

_log = logging.getLogger("shoal")

_ANSWER_SECONDS = 0.0005  # how long answers may gather
_BATCH = 64
_STUCK_SECONDS = 0.02  # a call that runs longer has those behind it handed back
_INTERRUPT = signal.SIGUSR2
_INTERRUPT_AGAIN_SECONDS = 0.005


class Function:
    """A remote function that has arrived."""

    __slots__ = ("backpressure", "call", "calls", "count", "error", "held", "max_calls", "mode", "name")

    def __init__(self, pickled: bytes, info: dict[str, Any], held: list[Any]) -> None:
        self.name: str = info["name"]
        self.mode: int = info["mode"]
        self.count: int = info["count"]
        self.max_calls: int = info["max_calls"]
        self.backpressure: int = info["backpressure"]
        self.calls = 0
        self.held = held
        self.error: Exception | None = None
        self.call: Callable[..., Any] | None = None
        try:
            self.call = load_function(pickled, held)
        except Exception as error:  # a module that is missing here raises when the function is loaded
            self.error = error


class Worker:
    """One worker process. `serve` is its life."""

    def __init__(self, client: Client, page: mmap.mmap) -> None:
        self.client = client
        self.reactor = client.reactor
        self.node_hex = client.session.node_id.hex()
        self.current: Execution | None = None
        self.grant: dict[str, Any] = {}
        self.host: ActorHost | None = None
        self.exiting = False
        self._page = page  # what was started last, see Page: read by the daemon, also when we are dead
        self._page_name = ""
        self._queue: deque[tuple[Peer, list[Any]]] = deque()
        self._functions: dict[tuple[bytes, int], Function] = {}
        self._answering: list[Peer] = []
        self._answered_at = 0.0
        self._gathered = 0  # calls answered since then
        self._blocked = 0
        self._watching = False
        self._interruptible = 0  # the call that an interrupt would hit
        self._main = threading.get_ident()
        self.executions: dict[tuple[bytes, int], Execution] = {}  # beside `current`: async and threaded calls
        client.execution = self.execution  # type: ignore[method-assign]
        client.block = self.block  # type: ignore[method-assign]
        client.inherit_group = self.inherit_group  # type: ignore[method-assign]
        client.own_actor = self._own_actor  # type: ignore[method-assign]
        client.handlers.update(
            {
                kinds.FUNCTION: self._on_function,
                kinds.LEASE_BEGIN: self._on_lease_begin,
                kinds.LEASE_END: self._on_lease_end,
                kinds.TASKS: self._on_tasks,
                kinds.CALLS: self._on_calls,
                kinds.ACKNOWLEDGED: self._on_acknowledged,
                kinds.CANCEL: self._on_cancel,
                kinds.STREAM_READ: self._on_stream_read,
            }
        )
        client.handle_daemon(kinds.START_ACTOR, self._on_start_actor)
        client.handle_daemon(kinds.EXIT, self._on_exit)
        client.on_daemon_lost = self._on_daemon_lost
        client.reactor.gatherers.append(self._gather)
        signal.signal(_INTERRUPT, self._on_interrupt)

    # Context

    def execution(self) -> Execution | None:
        """Return the call that the calling code runs in."""
        return running.get() or self.current

    def context(self, common: dict[str, Any]) -> ExecutionContext:
        """Return where the calling code runs."""
        execution = self.execution()
        grant = self.grant
        host = self.host
        fields = dict(common)
        if host is not None:
            fields.update(
                actor_id=host.actor_id,
                actor_name=host.name,
                namespace=host.namespace,
                actor_was_restarted=host.restarted,
            )
        if execution is not None:
            fields.update(
                task_id=execution.peer.worker_id + execution.counter.to_bytes(8, "big")
                if execution.counter
                else b"",
                function_name=execution.name,
                task_name=execution.name,
                attempt=execution.attempt,
                cancelled=execution.cancelled,
            )
        fields["node_labels"] = grant.get("labels", {})
        if grant.get("environment"):
            fields["runtime_env"] = users_part(grant["environment"])
        return ExecutionContext(
            is_driver=False,
            resources=grant.get("resources", {}),
            accelerator_ids={name: tuple(ids) for name, ids in grant.get("devices", {}).items()},
            group_id=grant.get("group", b""),
            capture_child_tasks=grant.get("capture", False),
            **fields,
        )

    def inherit_group(self, strategy: Strategy) -> Strategy:
        """Return the strategy of a child: in this call's placement group if that captures its children."""
        if self.grant.get("capture") and isinstance(strategy, DefaultStrategy):
            return PlacementGroupStrategy(
                group_id=PlacementGroupID(self.grant["group"]), bundle_index=-1, capture_child_tasks=True
            )
        return strategy

    def _own_actor(self) -> bytes | None:
        host = self.host
        return host.actor_id if host is not None and host.is_serial else None

    # Messages; the lock is held

    def _on_function(self, peer: Peer, message: Message) -> None:
        _, key, pickled, info, captured = message
        held = [self.client.objects.adopt(object_id, 1) for object_id in captured] if captured else []
        # Loading imports user modules: not under the lock, so it is done by the first call.
        self._functions[peer.worker_id, key] = _LateFunction(pickled, info, held)

    def _on_lease_begin(self, peer: Peer, message: Message) -> None:
        self.grant = message[2]
        self._inherit_environment()
        self.client.depth = self.grant.get("depth", 0) + 1
        os.environ.update(self.grant.get("variables", {}))
        self._page[0:8] = bytes(8)

    def _inherit_environment(self) -> None:
        """What is called from here has the environment of here, unless it says otherwise."""
        if self.grant.get("environment"):
            self.client.job_environment = self.grant["environment"]

    def _on_lease_end(self, peer: Peer, message: Message) -> None:
        self.client.depth = 0

    def _on_tasks(self, peer: Peer, message: Message) -> None:
        items = message[1]
        if self._blocked:
            self.client.peers.send(peer, [kinds.HANDED_BACK, [item[0] for item in items]])
            return
        for item in items:
            self._queue.append((peer, item))
        if len(self._queue) > 1 or self.current is not None:
            self._watch_stuck()

    def _on_calls(self, peer: Peer, message: Message) -> None:
        host = self.host
        if host is None or host.actor_id != message[1]:
            return  # a caller that has not heard yet: its connection ends with this process
        if len(message) > 3 and host.durable is not None:
            host.durable.acknowledged(peer, message[3])
        for item in message[2]:
            host.accept(peer, item)

    def _on_acknowledged(self, peer: Peer, message: Message) -> None:
        host = self.host
        if host is not None and host.actor_id == message[1] and host.durable is not None:
            host.durable.acknowledged(peer, message[2])

    def _on_start_actor(self, message: Message) -> None:
        from shoal.native.worker.actor_host import ActorHost

        specification = message[1]
        self.grant = specification["grant"]
        self._inherit_environment()
        os.environ.update(self.grant.get("variables", {}))
        self.host = ActorHost(self, specification)

    def _on_exit(self, message: Message) -> None:
        self.exiting = True
        if self.host is not None:
            self.host.stop()

    def _on_daemon_lost(self) -> None:
        self.client.recorder.close()
        os._exit(1)

    def _on_stream_read(self, peer: Peer, message: Message) -> None:
        execution = self._find(peer, message[1])
        if execution is not None:
            execution.taken = message[2]

    def _find(self, peer: Peer, counter: int) -> Execution | None:
        current = self.current
        if current is not None and current.counter == counter and current.peer is peer:
            return current
        return self.executions.get((peer.worker_id, counter))

    # Cancelling

    def _on_cancel(self, peer: Peer, message: Message) -> None:
        _, counter, force, recursive = message
        if recursive:
            for child in self.client.children_of(counter):
                self.client.cancel_task(child, force, True)
        for index, (other, item) in enumerate(self._queue):
            if other is peer and item[0] == counter:
                del self._queue[index]
                self._answer_cancelled(peer, counter)
                return
        execution = self._find(peer, counter)
        if execution is None:
            if self.host is not None and self.host.cancel_queued(peer, counter):
                self._answer_cancelled(peer, counter)
            return
        execution.cancelled = True
        if execution.handle is not None and self.host is not None:
            self.host.cancel_async(execution)
        elif force:
            certificate = DeathCertificate(
                what="worker", cause=Cause.KILLED_BY_USER, detail="cancel(force=True)", name=execution.name
            )
            self.client.tell_daemon(
                [kinds.KILL_WORKER, self.client.worker_id, plain_certificate(certificate)]
            )
            self.reactor.flush()
        elif execution.thread == self._main:
            self._interrupt(execution)

    def _answer_cancelled(self, peer: Peer, counter: int) -> None:
        error = TaskCancelled("the call was cancelled before it started")
        calls.send_error(self, peer, counter, time.perf_counter(), error, "cancel", None)

    def _interrupt(self, execution: Execution) -> None:
        """Raise KeyboardInterrupt in the main thread; again, as long as it is inside our own locks."""
        if self._interruptible != execution.counter or self.current is not execution:
            return
        signal.pthread_kill(self._main, _INTERRUPT)
        self.reactor.call_later(_INTERRUPT_AGAIN_SECONDS, lambda: self._interrupt(execution))

    def _on_interrupt(self, number: int, frame: Any) -> None:
        execution = self.current
        if execution is None or not execution.cancelled or self._interruptible != execution.counter:
            return
        if self.reactor.lock._is_owned():  # type: ignore[attr-defined]
            return  # in the middle of our own tables: the timer tries again
        self._interruptible = 0
        raise KeyboardInterrupt

    # Handing back

    def _watch_stuck(self) -> None:
        if not self._watching:
            self._watching = True
            before = self.current
            self.reactor.call_later(_STUCK_SECONDS, lambda: self._look_stuck(before))

    def _look_stuck(self, before: Execution | None) -> None:
        self._watching = False
        if not self._queue:
            return
        if before is not None and before is self.current:
            self._hand_back()
        else:
            self._watch_stuck()

    def _hand_back(self) -> None:
        """Give calls that were not started back to their callers."""
        by_peer: dict[bytes, tuple[Peer, list[int]]] = {}
        while self._queue:
            peer, item = self._queue.popleft()
            by_peer.setdefault(peer.worker_id, (peer, []))[1].append(item[0])
        for peer, counters in by_peer.values():
            self.client.peers.send(peer, [kinds.HANDED_BACK, counters])
        self.reactor.flush()

    def block(self) -> Callable[[], None] | None:
        """The current call waits: its CPU and the calls behind it go back."""
        if threading.get_ident() != self._main or (self.host is not None and self.host.is_async):
            return None
        with self.reactor.lock:
            self._blocked += 1
            self._hand_back()
            self.client.tell_daemon([kinds.BLOCKED])
            self.reactor.flush()
        return self._unblock

    def _unblock(self) -> None:
        with self.reactor.lock:
            self._blocked -= 1
            self.client.tell_daemon([kinds.UNBLOCKED])
            self.reactor.flush()

    # Answers

    def answer(self, peer: Peer, item: list[Any]) -> None:
        """Queue an answer; it goes out with others within half a millisecond. From any thread."""
        with self.reactor.lock:
            results = peer.results
            if not results:
                self._answering.append(peer)
                self.reactor.pending = True
            results.append(item)

    def _gather(self) -> None:
        answering = self._answering
        if not answering:
            return
        self._answering = []
        for peer in answering:
            results = peer.results
            if results:
                peer.results = []
                self.client.peers.send(peer, [kinds.RESULTS, results])

    def begin_gathering(self) -> None:
        """A run of calls begins: their answers may go out together."""
        self._answered_at = time.perf_counter()
        self._gathered = 0

    def pace_answers(self) -> None:
        """One more call of the run has ended and another follows: send what has gathered if it is time."""
        self._gathered += 1
        now = time.perf_counter()
        if self._gathered >= _BATCH or now - self._answered_at > _ANSWER_SECONDS:
            self.flush()
            self._answered_at = now
            self._gathered = 0
        else:
            self.reactor.nudge()

    def flush(self) -> None:
        """Send what has gathered."""
        with self.reactor.lock:
            self.reactor.flush()

    # Running

    def serve(self) -> None:
        """Run calls until told to exit."""
        reactor = self.reactor
        while not self.exiting:
            reactor.run_until(self._has_work)
            host = self.host
            if host is not None:
                host.serve()
                return
            self._run_queue()

    def _has_work(self) -> bool:
        return bool(self._queue) or self.exiting or self.host is not None

    def _run_queue(self) -> None:
        queue = self._queue
        self.begin_gathering()
        while queue:
            try:
                peer, item = queue.popleft()
            except IndexError:  # the background thread has handed them back
                break
            self._run(peer, item)
            if queue and not self.exiting:
                self.pace_answers()

    def _run(self, peer: Peer, item: list[Any]) -> None:
        counter, key, payload, extra = item
        function = self._functions[peer.worker_id, key]
        started = time.perf_counter()
        self._page[0:8] = counter.to_bytes(8, "little")
        if function.name != self._page_name:
            self._page_name = function.name
            write_name(self._page, function.name)
        attempt = extra.get("a", 0) if extra else 0
        execution = Execution(counter, peer, function.name, attempt)
        execution.thread = self._main
        self.current = execution
        function.calls += 1
        ends = bool(function.max_calls) and function.calls >= function.max_calls
        ids: list[bytes] | None = None
        try:
            if type(function) is _LateFunction:
                function = self._functions[peer.worker_id, key] = function.load()
            if function.call is None:
                assert function.error is not None
                raise function.error
            args, kwargs, ids = calls.load_arguments(self, payload, extra)
            self._interruptible = counter
            try:
                value = function.call(*args, **kwargs)
                if calls.is_generated(function.mode):
                    value = calls.run_generator(self, execution, value, function.mode, function.backpressure)
                elif hasattr(value, "__await__") and hasattr(value, "send"):
                    import asyncio

                    value = asyncio.run(value)
            finally:
                self._interruptible = 0
            args = kwargs = None
        except BaseException as error:  # user code may raise anything: it becomes the call's result
            args = kwargs = None
            self._failed(execution, started, error, ids, ends)
        else:
            self.current = None
            calls.send_value(
                self, peer, counter, started, value, function.mode, function.count, ids, function.name, ends
            )
        self.current = None
        if ends:
            self.exiting = True

    def _failed(
        self, execution: Execution, started: float, error: BaseException, ids: list[bytes] | None, ends: bool
    ) -> None:
        if execution.cancelled and isinstance(error, KeyboardInterrupt):
            error = TaskCancelled(f"{execution.name} was cancelled while it ran").with_traceback(None)
        elif isinstance(error, SystemExit):
            self.flush()
            os._exit(error.code if isinstance(error.code, int) else 0 if error.code is None else 1)
        elif isinstance(error, ActorExit):
            error = RuntimeError("exit_actor() was called outside an actor")
        calls.send_error(self, execution.peer, execution.counter, started, error, execution.name, ids, ends)


class _LateFunction(Function):
    """A function that was not loaded yet."""

    __slots__ = ("_info", "_pickled")

    def __init__(self, pickled: bytes, info: dict[str, Any], held: list[Any]) -> None:
        self._pickled = pickled
        self._info = info
        self.name = info["name"]
        self.mode = info["mode"]
        self.count = info["count"]
        self.max_calls = info["max_calls"]
        self.backpressure = info["backpressure"]
        self.calls = 0
        self.held = held
        self.error = None
        self.call = None

    def load(self) -> Function:
        """Load it: imports the modules that it needs."""
        function = Function(self._pickled, self._info, self.held)
        function.calls = self.calls
        return function
