"""The calls of a durable actor: one after the other, its state saved between them.

With an interval above 0 the state is saved now and then, beside the calls. With an interval of 0 an answer is held back
until its call's effect is saved: while one save is under way the next calls run, and the save after it takes them all
(group commit), as long as they are short. With exactly_once the record of applied calls is saved in one piece with the
state, so that a call which is sent again is answered instead of applied again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.errors import ActorError, ActorUnavailable, ShoalError, StateNotSaved
from shoal.machines.applied import AppliedCalls, Verdict
from shoal.native.client.peers import Peer
from shoal.native.client.values import encode_payload
from shoal.native.wire import kinds
from shoal.native.worker.saver import Saver
from shoal.serial import Payload, dump_error, pack, unpack
from shoal.serial.state import capture_state, restore_state

if TYPE_CHECKING:
    from shoal.native.worker.actor_host import ActorHost
    from shoal.native.worker.worker import Worker

_log = logging.getLogger("shoal")

_MOST_HELD = 1024  # answers that wait for a save
_LONGEST_HELD_SECONDS = 0.01  # how long calls may run on while an answer waits for its save to begin
_SHORT_CALL_SECONDS = 0.001  # only calls that are shorter on average run on
_LOOK_EVERY = 32  # calls, after which it is looked whether the save has ended
_LOOK_SECONDS = 0.05  # how often it is looked whether a save has ended that the next one waits for
_TIDY_SECONDS = 30.0
_LAST_SAVE_SECONDS = 5.0  # an actor that leaves waits this long for the answers it owes
_pack = msgspec.msgpack.Encoder().encode

Call = tuple[Peer, list[Any]]


class DurableCalls:
    """The serving of one durable actor. Everything but `acknowledged` and what ends a save is the main thread's."""

    def __init__(self, worker: Worker, host: ActorHost, durability: list[Any]) -> None:
        self._interval: float
        self._exactly_once: bool
        self._by_methods: bool
        self._interval, self._exactly_once, self._by_methods = durability
        self._worker = worker
        self._host = host
        self._saver = Saver(worker, host.actor_id, host.incarnation)
        self._most_bytes = worker.client.config.durable_state_max_bytes
        self._cls: Any = None
        self._make: Callable[[], Any] = lambda: None
        self._queue: deque[Call] = deque()
        self._parked: deque[Call] = (
            deque()
        )  # calls of callers that must first say that they have their answers
        self._said: deque[tuple[bytes, int]] = deque()  # what callers said, for the main thread
        self._applied = AppliedCalls()
        self._held: list[Call] = []  # answers of calls whose effect is in no save yet
        self._held_since = 0.0
        self._unsaved: set[tuple[bytes, int]] = set()  # caller and number of those calls
        self._saving: list[Call] = []  # answers that the save under way sets free
        self._number = 0  # of the call that runs
        self._average = 0.0  # seconds a call takes
        self._changed = False  # since the last save
        self._saved_at = 0.0
        self._digest = b""
        self._tidied = 0.0
        self._complaint = ""  # why the last save could not be, as it was logged

    # Beginning

    def begin(self, cls: Any, make: Callable[[], Any]) -> None:
        """Make the instance: anew, and save it, or with its last saved state. Raises what the class raises."""
        self._cls, self._make = cls, make
        found = self._saver.load()
        if found is not None:
            data, saved = found
            self._restore(data)
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(saved))
            name = self._host.class_name
            _log.info("actor %s goes on with its state of %s (version %d)", name, when, self._saver.version)
            return
        self._host.become(make())
        self._saver.save(self._capture(), self._on_saved)
        self._wait_for_save(None)

    def _restore(self, data: bytes) -> None:
        view = memoryview(data)
        length = int.from_bytes(view[:8], "big")
        self._applied = AppliedCalls()
        self._applied.load(msgspec.msgpack.decode(view[8 : 8 + length]))
        self._host.become(restore_state(self._cls, self._make, bytes(view[8 + length :]), self._by_methods))

    def _capture(self) -> bytes:
        """Return the state as it is saved. Raises StateNotSaved."""
        payload = capture_state(self._host.instance, self._by_methods)
        applied = _pack(self._applied.plain() if self._exactly_once else [])
        size = 8 + len(applied) + payload.size
        if size > self._most_bytes:
            raise StateNotSaved(
                f"the state of actor {self._host.class_name} takes {size:,} bytes, and durable_state_max_bytes allows "
                f"{self._most_bytes:,}; keep less in it (large values in files or objects of another owner), or raise "
                "the setting"
            )
        return b"".join([len(applied).to_bytes(8, "big"), applied, *pack(payload)])

    # Messages; any thread, under the lock

    def acknowledged(self, peer: Peer, below: int) -> None:
        """A caller has the answer of every call of a lower number."""
        if self._exactly_once:
            self._said.append((peer.worker_id, below))

    def _on_saved(self) -> None:
        """What was captured last is safe: its answers go out."""
        answers, self._saving = self._saving, []
        for peer, item in answers:
            self._worker.answer(peer, item)
        self._worker.reactor.flush()

    # Serving

    def serve(self, queue: deque[Call]) -> None:
        """Serve calls until told to exit."""
        self._queue = queue
        worker = self._worker
        while not worker.exiting:
            worker.reactor.run_until(self._has_work, self._next_save())
            worker.begin_gathering()
            self._hear()
            while queue and not worker.exiting:
                self._run(*queue.popleft())
                self._after_call()
                if queue:
                    worker.pace_answers()
                    self._hear()
            self._save_if_due()

    def finish(self) -> None:
        """The actor leaves by its own wish: answers that wait for a save go out first."""
        deadline = time.monotonic() + _LAST_SAVE_SECONDS
        if self._wait_for_save(deadline) and self._held:
            self._save()
            self._wait_for_save(deadline)

    def _has_work(self) -> bool:
        if self._queue or self._worker.exiting or (self._parked and self._said):
            return True
        return bool(self._held) and not self._saver.busy

    def _next_save(self) -> float | None:
        if not self._interval or not self._changed:
            return None
        due = self._saved_at + self._interval
        return max(due, time.monotonic() + _LOOK_SECONDS) if self._saver.busy else due

    def _hear(self) -> None:
        """Take note of what callers have said, and of callers that are gone."""
        said = self._said
        heard = bool(said)
        while said:
            self._applied.acknowledged(*said.popleft())
        if heard and self._parked:
            with self._worker.reactor.lock:
                self._queue.extendleft(reversed(self._parked))
                self._parked.clear()
        if self._exactly_once:
            now = time.monotonic()
            if now - self._tidied > _TIDY_SECONDS:
                self._tidied = now
                peers = self._worker.client.peers
                self._applied.tidy(now, lambda caller: peers.find(caller) is not None)

    def _run(self, peer: Peer, item: list[Any]) -> None:
        self._number = number = item[3].get("q", 0) if self._exactly_once and item[3] else 0
        if number:
            verdict, answer = self._applied.judge(peer.worker_id, number)
            if verdict is not Verdict.APPLY:
                self._answer_without_running(peer, item, verdict, answer)
                return
        if self._interval:
            self._host.run(peer, item, main=True)
            if not self._changed:
                self._changed = True
                self._saved_at = max(self._saved_at, time.monotonic() - self._interval)
            return
        began = time.perf_counter()
        self._host.run(peer, item, main=True, answer=self._hold)
        self._average += (time.perf_counter() - began - self._average) * 0.25

    def _answer_without_running(self, peer: Peer, item: list[Any], verdict: Verdict, answer: Any) -> None:
        if verdict is Verdict.WAIT:
            self._parked.append((peer, item))
        elif verdict is Verdict.REPEAT:
            try:
                repeated = self._repeated(peer, item[0], answer)
            except ShoalError as error:  # the store is full
                payload = dump_error(error, item[1], os.getpid(), self._worker.node_hex)
                repeated = [item[0], 0, kinds.ERROR, payload]
            self._repeat(peer, repeated)
        elif verdict is Verdict.REFUSE:
            refused = ActorUnavailable(
                f"actor {self._host.class_name} remembers the calls of {self._applied.callers} callers, and takes no "
                "new one before some of them have been gone for ten minutes; the call was not applied"
            )
            payload = dump_error(refused, item[1], os.getpid(), self._worker.node_hex)
            self._worker.answer(peer, [item[0], 0, kinds.ERROR, payload])

    def _repeat(self, peer: Peer, item: list[Any]) -> None:
        """Answer a call that was applied, but not before its effect is saved."""
        if (peer.worker_id, self._number) in self._unsaved:
            self._held.append((peer, item))
            return
        with self._worker.reactor.lock:
            if self._saver.busy:
                self._saving.append((peer, item))
                return
        self._worker.answer(peer, item)

    def _hold(self, peer: Peer, item: list[Any]) -> None:
        """Keep an answer back until its call's effect is saved."""
        if len(item) > 4 and "lost" in item[4]:
            self._worker.answer(peer, item)  # the call did not run
            return
        if self._number:
            self._applied.note(peer.worker_id, self._number, self._kept(peer, item))
            self._unsaved.add((peer.worker_id, self._number))
        if not self._held:
            self._held_since = time.monotonic()
        self._held.append((peer, item))

    # Saving

    def _after_call(self) -> None:
        """Begin a save if none is under way; let the next call run beside one only if that is short."""
        if self._interval:
            self._save_if_due()
            return
        if not self._held:
            return
        saver = self._saver
        if saver.busy:
            waits = (
                not self._queue
                or self._average > _SHORT_CALL_SECONDS
                or len(self._held) >= _MOST_HELD
                or time.monotonic() - self._held_since > _LONGEST_HELD_SECONDS
            )
            if waits:
                self._wait_for_save(None)
            elif len(self._held) % _LOOK_EVERY == 0:
                self._wait_for_save(time.monotonic())
        if not saver.busy:
            self._save()

    def _save_if_due(self) -> None:
        if self._saver.busy or self._worker.exiting:
            return
        if not self._interval:
            if self._held:
                self._save()
        elif self._changed and time.monotonic() >= self._saved_at + self._interval:
            self._save()

    def _save(self) -> None:
        """Capture the state and begin to save it. Not while a save is under way."""
        self._saved_at = time.monotonic()
        self._changed = False
        try:
            data = self._capture()
        except StateNotSaved as error:
            if self._interval:
                self._complain(str(error))
            else:
                self._undo(error)
            return
        self._complaint = ""
        if self._interval:
            digest = hashlib.blake2b(data, digest_size=16).digest()
            if digest == self._digest:
                return
            self._digest = digest
        self._saving, self._held = self._held, []
        self._unsaved.clear()
        self._saver.save(data, self._on_saved)

    def _wait_for_save(self, deadline: float | None) -> bool:
        """Wait until no save is under way, or the process is to exit. Returns whether none is."""
        saver, worker = self._saver, self._worker
        worker.reactor.run_until(lambda: not saver.busy or worker.exiting, deadline)
        return not saver.busy

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            _log.error("the last saved state of actor %s stays: %s", self._host.class_name, text)

    def _undo(self, error: StateNotSaved) -> None:
        """The effect of the calls since the last save cannot be kept: they are undone, and told so."""
        held, self._held = self._held, []
        self._unsaved.clear()
        text = f"{error}. The call was not applied, and neither were those that were to be saved together with it"
        payload = dump_error(StateNotSaved(text), self._host.class_name, os.getpid(), self._worker.node_hex)
        try:
            found = self._saver.load()
            assert found is not None  # begin() has saved one
            self._restore(found[0])
        except BaseException:  # user code may raise anything; the restart begins with the same state
            _log.exception(
                "actor %s cannot go back to its last saved state: it restarts", self._host.class_name
            )
            os._exit(1)
        for peer, item in held:
            if item[2] == kinds.STORED:
                self._worker.client.store.delete(_result_id(peer, item[0], 0))
            self._worker.answer(peer, [item[0], item[1], kinds.ERROR, payload])
        self._worker.flush()

    # Answers that are kept

    def _kept(self, peer: Peer, item: list[Any]) -> list[Any]:
        """Return an answer as it is saved: with its bytes, wherever they are now."""
        status, payload = item[2], item[3]
        if status != kinds.MANY:
            contained = item[4].get("contained") if len(item) > 4 else None
            return self._kept_value(status, payload, contained, _result_id(peer, item[0], 0))
        return [
            kinds.MANY,
            [
                self._kept_value(one, value, contained, _result_id(peer, item[0], index))
                for index, (one, value, contained) in enumerate(payload)
            ],
        ]

    def _kept_value(self, status: int, payload: Any, contained: Any, object_id: bytes) -> list[Any]:
        if contained:
            return [kinds.ERROR, None]  # references of this process: they end with it
        if status == kinds.STORED:
            view = self._worker.client.store.get(object_id)
            return [kinds.ERROR, None] if view is None else [kinds.PACKED, bytes(view)]
        return [status, payload]

    def _repeated(self, peer: Peer, counter: int, answer: Any) -> list[Any]:
        """Return an answer that was kept as it is sent."""
        status, payload = answer
        if status == kinds.MANY:
            values = []
            for index, (one, value) in enumerate(payload):
                values.append([*self._sent_value(one, value, _result_id(peer, counter, index)), None])
            return [counter, 0, kinds.MANY, values]
        return [counter, 0, *self._sent_value(status, payload, _result_id(peer, counter, 0))]

    def _sent_value(self, status: int, payload: Any, object_id: bytes) -> tuple[int, Any]:
        if status == kinds.ERROR and payload is None:
            error = ActorError(
                "the call was applied, once, but its result is gone: it held ObjectRefs or handles, which ended with "
                f"the process of actor {self._host.class_name} that made them"
            )
            return kinds.ERROR, dump_error(error, self._host.class_name, os.getpid(), self._worker.node_hex)
        if status == kinds.PACKED:
            data, buffers = unpack(payload)
            return encode_payload(self._worker.client, Payload(bytes(data), buffers), object_id)
        return status, payload


def _result_id(peer: Peer, counter: int, index: int) -> bytes:
    return peer.worker_id + counter.to_bytes(8, "big") + index.to_bytes(4, "big")
