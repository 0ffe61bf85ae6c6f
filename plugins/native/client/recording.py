"""What a process tells the session's event log of the calls that it makes, and of its large objects.

The hot path appends one tuple for each call that is over (`Tasks.on_results`); everything else happens here, a few
times a second: thinning out what is too much, encoding and writing. A call that is not over is told of when it has
waited or run for a while, since most are over before anybody could look.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.native.wire import kinds
from shoal.observe.eventlog import FOLDER, EventLog, encode_block
from shoal.serial import load_error

if TYPE_CHECKING:
    from shoal.native.client.client import Client
    from shoal.native.client.records import Record, Task

_SECONDS = 0.25  # how long events gather
_BURST_SECONDS = 2  # the calls of so many seconds may come at once
_IDLE_SECONDS = 1.0  # between two looks at what is not over, while nothing ends
MOST_FRESH = 50_000  # calls that may gather before they are taken at once
_MOST_FACTS = 2_000  # other events that one turn keeps
_MOST_ERRORS = 100  # failures of one turn whose error is described
_MOST_NOTED = 1_000  # calls that are not over and were told of
_MOST_TOLD = 10_000  # calls that are not over, in one answer
_ERROR_CHARACTERS = 300


class Recorder:
    """One process's events. Called under the reactor's lock, unless the text says otherwise."""

    __slots__ = (
        "_client",
        "_facts",
        "_facts_lost",
        "_log",
        "_noted",
        "_noted_before",
        "_rate",
        "_room",
        "_taken_at",
        "_tally",
        "_to_write",
        "_writing",
        "armed",
        "failures",
        "finished",
        "fresh",
    )

    def __init__(self, client: Client) -> None:
        config = client.config
        self._client = client
        self.fresh: list[tuple[Any, ...]] = []  # calls that are over, see eventlog.CALL_FIELDS
        self.armed = False  # a turn is due
        self.finished = 0
        self.failures = 0
        self._tally = [0, 0, 0, 0]
        self._rate = config.event_log_calls_per_second
        self._room = float(_BURST_SECONDS * self._rate)  # calls that may be recorded now
        self._log: EventLog | SentLog | None = None
        self._facts: list[list[Any]] = []
        self._facts_lost = 0
        self._noted: set[int] = set()  # unfinished calls that the log knows
        self._noted_before: dict[int, int] = {}  # unfinished calls at the last turn, with their attempt
        self._taken_at = time.monotonic()
        self._to_write: list[tuple[list[Any], list[Any], int]] = []
        self._writing = threading.Lock()

    @property
    def is_on(self) -> bool:
        """Whether there is a log to write to."""
        return self._client.config.event_log_max_bytes > 0

    def arm(self) -> None:
        """Something has begun or ended: look soon."""
        self.armed = True
        self._client.reactor.call_later(_SECONDS, self._turn)

    def fact(self, kind: str, **fields: Any) -> None:
        """Something rare has happened."""
        if not self.is_on:
            return
        if len(self._facts) < _MOST_FACTS:
            self._facts.append([kind, time.time(), fields])
        else:
            self._facts_lost += 1
        if not self.armed:
            self.arm()

    def failed(self, task: Task, payload: bytes) -> None:
        """A call ended without an answer of a worker: it was cancelled, or nobody is left to answer."""
        self.fresh.append(
            (
                task.function.name,
                task.attempt,
                b"" if task.actor is None else task.actor.actor_id,
                b"" if task.peer is None else task.peer.worker_id,
                time.time(),
                0,
                kinds.ERROR,
                task.counter,
                task.created,
                task.caller,
                payload,
            )
        )
        if not self.armed:
            self.arm()

    def retried(self, task: Task, why: str) -> None:
        """An attempt is over without an answer, and another follows."""
        self.fact(
            "retry",
            task=self._client.object_id(task.counter, 0)[:16],
            name=task.function.name,
            attempt=task.attempt,
            why=why,
        )

    def released(self, record: Record) -> None:
        """An object of ours is gone; the log knows the large ones that were put."""
        if record.put and record.status == kinds.STORED:
            self.fact("object", object=record.object_id, state="FREED")

    # Turns

    def _turn(self) -> None:
        self.armed = False
        if self._client.closed:
            return
        if self.is_on:
            self._note_unfinished()
        busy = bool(self.fresh)
        self.take()
        running, waiting = counts(self._client)
        goes_on = bool(running or waiting)
        tally = [self.finished, self.failures, running, waiting]
        if tally != self._tally and self._client.broken is None:
            self._tally = tally
            self._client.tell_daemon([kinds.TALLY, *tally])
        self._client.reactor.call_soon_unlocked(self.write)
        if goes_on and not self.armed:
            self.armed = True
            self._client.reactor.call_later(_SECONDS if busy else _IDLE_SECONDS, self._turn)

    def take(self) -> None:
        """Take what has gathered: the timeline gets all of it, the log no more than its rate."""
        calls, self.fresh = self.fresh, []
        facts, self._facts = self._facts, []
        failures: list[int] = [index for index, call in enumerate(calls) if call[6] == kinds.ERROR]
        self.failures += len(failures)
        self.finished += len(calls) - len(failures)
        if failures:
            # The timeline is to keep no pickled errors; nor is anybody to wait while thousands are described.
            shown = list(calls)
            for number, index in enumerate(failures):
                shown[index] = (*calls[index][:10], "")
                if number >= _MOST_ERRORS:
                    calls[index] = shown[index]
            self._client.events.extend(shown)
        else:
            self._client.events.extend(calls)
        if not self.is_on:
            return
        now = time.monotonic()
        self._room = min(_BURST_SECONDS * self._rate, self._room + self._rate * (now - self._taken_at))
        allowed = max(100, int(self._room))
        self._taken_at = now
        kept: list[Any] = calls
        if len(calls) > allowed:
            step = -(-len(calls) // allowed)
            kept = [call for i, call in enumerate(calls) if i % step == 0 or call[6] == kinds.ERROR]
            kept = kept[: 2 * allowed]
        self._room -= len(kept)
        lost, self._facts_lost = self._facts_lost, 0
        if kept or facts or lost:
            self._to_write.append((kept, facts, len(calls) - len(kept) + lost))

    def write(self) -> None:
        """Write what was taken. Called without the lock, from any thread."""
        with self._writing:
            while self._to_write:
                calls, facts, sampled = self._to_write.pop(0)
                for index, call in enumerate(calls):
                    if call[6] == kinds.ERROR and not isinstance(call[10], str):
                        calls[index] = (*call[:10], describe_error(call[10]))
                if self._log is None:
                    self._log = self._open()
                self._log.append(calls, facts, sampled)

    def _open(self) -> EventLog | SentLog:
        client = self._client
        session = client.session
        identity = {
            "process": client.worker_id.hex(),
            "kind": "driver" if client.worker_id == session.driver else "worker",
            "pid": os.getpid(),
            "node": session.node_id.hex(),
            "job": session.job_id.hex(),
        }
        if client.is_far:
            return SentLog(client, identity)
        folder = os.path.join(session.folder, FOLDER)
        return EventLog(folder, identity, client.config.event_log_max_bytes)

    def flush(self) -> None:
        """Write all that there is, now. Takes the lock."""
        with self._client.reactor.lock:
            self.take()
        self.write()

    def close(self) -> None:
        """Write the rest and close. Called without the lock. Nothing in a process that was forked, or twice."""
        if self._client.closed or self._client.process != os.getpid():
            return
        self.flush()
        if self._log is not None:
            self._log.close()

    def _note_unfinished(self) -> None:
        """Tell of calls that were unfinished at the last turn too."""
        before = self._noted_before
        now: dict[int, int] = {}
        for task, state in islice(unfinished(self._client, 16), _MOST_NOTED):
            now[task.counter] = task.attempt
            if task.counter not in before:
                continue
            key = task.counter * 4 + (2 if state == "RUNNING" else 1)
            if key not in self._noted and len(self._noted) < 4 * _MOST_NOTED:
                self._noted.add(key)
                self.fact("call", **plain(self._client, task, state))
        if len(self._noted) >= 4 * _MOST_NOTED:
            self._noted = {key for key in self._noted if key // 4 in now}
        self._noted_before = now

    def on_look(self, message: list[Any]) -> None:
        """Somebody looks at the session: write what there is, and tell the daemon what is not over."""
        client = self._client
        self.take()
        calls = [plain(client, task, state) for task, state in islice(unfinished(client, None), _MOST_TOLD)]

        def answer() -> None:
            self.write()
            packed = msgspec.msgpack.encode({"calls": calls})
            with client.reactor.lock:
                if client.broken is None and not client.closed:
                    client.request_later("calls_are", [message[1], packed], lambda ok, value: None)
                    client.reactor.flush()

        client.reactor.call_soon_unlocked(answer)


class SentLog:
    """The log of a process that is not on a node: its blocks go to the daemon, which writes them."""

    def __init__(self, client: Client, identity: dict[str, Any]) -> None:
        self._client = client
        self._identity = identity
        self._told = self._sampled = 0

    def append(self, calls: list[Any], facts: list[Any], sampled: int = 0) -> None:
        """Send events as one block. Takes the lock."""
        self._sampled += sampled
        block = encode_block(
            {**self._identity, "first": self._told, "sampled": self._sampled, "lost": 0}, calls, facts
        )
        self._told += len(calls) + len(facts)
        client = self._client
        with client.reactor.lock:
            if client.broken is None and not client.closed:
                client.request_later("record", [block], lambda ok, value: None)
                client.reactor.flush()

    def close(self) -> None:
        """Nothing is open."""


def describe_error(payload: bytes) -> str:
    """Return "Class: text" of a pickled error. Called without the lock: it loads the user's class."""
    raised = load_error(payload)
    original = getattr(raised, "original", None) or raised
    text = str(original).partition("\n")[0]
    return f"{type(original).__name__}: {text}"[:_ERROR_CHARACTERS]


def unfinished(client: Client, most: int | None) -> Iterator[tuple[Task, str]]:
    """Yield the calls that are not over with their states, of each queue no more than the first `most`."""
    seen: set[int] = set()
    for task in islice(client.tasks.awaiting.values(), most):
        if not task.cancelled:
            yield task, "PENDING_ARGS_AVAIL"
    for klass in client.tasks.classes.values():
        for lease in klass.leases:
            yield from _sent(lease.peer.inflight.values(), most, seen)
        for task in islice(klass.queue, most):
            if not task.cancelled:
                yield task, "PENDING_NODE_ASSIGNMENT"
    for actor in client.actors.clients():
        if actor.peer is not None:
            yield from _sent(actor.peer.inflight.values(), most, seen)
        for task in islice(actor.queue, most):
            if not task.cancelled:
                waits = "PENDING_ARGS_AVAIL" if task.waiting else "PENDING_ACTOR_TASK_ARGS_FETCH"
                yield task, waits if actor.state == "ALIVE" else "PENDING_NODE_ASSIGNMENT"


def counts(client: Client) -> tuple[int, int]:
    """Return how many calls run, and how many wait for a worker, an actor or an argument."""
    peers = {lease.peer for klass in client.tasks.classes.values() for lease in klass.leases}
    waiting = len(client.tasks.awaiting) + sum(len(klass.queue) for klass in client.tasks.classes.values())
    for actor in client.actors.clients():
        waiting += len(actor.queue)
        if actor.peer is not None:
            peers.add(actor.peer)
    running = sum(1 for peer in peers if peer.inflight)
    return running, waiting + sum(len(peer.inflight) for peer in peers) - running


def _sent(tasks: Any, most: int | None, seen: set[int]) -> Iterator[tuple[Task, str]]:
    state = "RUNNING"  # the first; those behind it wait at the worker
    for task in islice(tasks, most):
        if task.counter not in seen:
            seen.add(task.counter)
            yield task, state
            state = "SUBMITTED_TO_WORKER"


def plain(client: Client, task: Task, state: str) -> dict[str, Any]:
    """Return what is known of a call that is not over."""
    return {
        "task": client.object_id(task.counter, 0)[:16],
        "name": task.function.name,
        "attempt": task.attempt,
        "actor": b"" if task.actor is None else task.actor.actor_id,
        "worker": b"" if task.peer is None else task.peer.worker_id,
        "created": task.created,
        "parent": task.caller,
        "state": state,
    }
