"""One call in a worker: its arguments loaded, its result sent. The same for tasks and actor methods."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import TaskCancelled
from shoal.native.client.arguments import EMPTY_CALL
from shoal.native.client.functions import DYNAMIC, NONE, SEVERAL, SINGLE, STREAMING
from shoal.native.client.peers import Peer
from shoal.native.client.values import MISSING, NONE_PICKLE, decode_parts, encode
from shoal.native.wire import kinds
from shoal.native.worker.execution import Execution
from shoal.serial import dump_error, loads, unpack

if TYPE_CHECKING:
    from shoal.native.worker.worker import Worker


_log = logging.getLogger("shoal.worker")
Answer = Callable[[Peer, list[Any]], None]


class ArgumentLost(Exception):
    """Arguments are not in the store where they should be; `ids` names them."""

    def __init__(self, ids: list[bytes]) -> None:
        super().__init__(ids)
        self.ids = ids


def load_arguments(
    worker: Worker, payload: bytes, extra: dict[str, Any] | None
) -> tuple[Any, Any, list[bytes] | None]:
    """Return (args, kwargs, identifiers of references that came along).

    Raises ArgumentLost, and whatever unpickling raises.
    """
    if extra is None:
        if payload == EMPTY_CALL:
            return (), {}, None
        args, kwargs = loads(payload)
        return args, kwargs, None
    client = worker.client
    ids: list[bytes] = []
    refs: list[Any] = []
    if "r" in extra:
        with client.reactor.lock:
            refs = [client.objects.adopt(object_id, 0) for object_id in extra["r"]]
        ids.extend(extra["r"])
    if "o" in extra:
        is_copy = client.peers.in_cluster and client.pulls.bring_once(extra["o"], extra["z"])
        view = client.store.get(extra["o"])
        if view is None:
            raise ArgumentLost([extra["o"]])
        data, buffers = unpack(view)
        args, kwargs = loads(data, buffers, refs)
        if is_copy:
            client.pulls.discard(extra["o"])
    elif extra.get("p"):
        data, buffers = unpack(payload)
        args, kwargs = loads(data, buffers, refs)
    else:
        args, kwargs = loads(payload, (), refs)
    slots = extra.get("s")
    if slots:
        args = list(args)
        lost = []
        if client.peers.in_cluster:
            client.pulls.bring(stored_arguments(extra))
        for key, object_id, status, value_payload, inside in slots:
            held: list[Any] = []
            if inside:
                with client.reactor.lock:
                    held = [client.objects.adopt(inner, 0) for inner in inside]
                ids.extend(inside)
            value = decode_parts(client, object_id, status, value_payload, held)
            if value is MISSING:
                lost.append(object_id)
            elif isinstance(key, int):
                args[key] = value
            else:
                kwargs[key] = value
        if lost:
            raise ArgumentLost(lost)
    return args, kwargs, ids or None


def stored_arguments(extra: Mapping[str, Any]) -> list[tuple[bytes, list[Any]]]:
    """Return the arguments that lie in the store of some node: object, [size, creator]."""
    return [(slot[1], slot[3]) for slot in extra.get("s") or () if slot[2] == kinds.STORED]


def kept_references(worker: Worker, ids: list[bytes]) -> list[bytes]:
    """Return which of these references are still held here after the call; each becomes a borrow of this process."""
    client = worker.client
    kept = []
    with client.reactor.lock:
        client.objects.collect()
        for object_id in dict.fromkeys(ids):
            record = client.objects.find(object_id)
            if record is not None and not record.owned and record.local > 0:
                record.credits += 1
                kept.append(object_id)
    return kept


def send_value(
    worker: Worker,
    peer: Peer,
    counter: int,
    started: float,
    value: Any,
    mode: int,
    count: int,
    ids: list[bytes] | None,
    name: str,
    ends: bool = False,
    answer: Answer | None = None,
) -> None:
    """Queue the answer of a call that returned `value`, or give it to `answer`."""
    more: dict[str, Any] = {}
    if ends:
        more["end"] = True
    status: int
    payload: Any
    try:
        if mode == SINGLE:
            if value is None:
                status, payload, refs = kinds.PLAIN, NONE_PICKLE, None
            else:
                object_id = peer.worker_id + counter.to_bytes(8, "big") + b"\x00\x00\x00\x00"
                status, payload, refs = encode(worker.client, value, object_id)
            if refs:
                with worker.reactor.lock:
                    more["contained"] = worker.client.objects.give(refs, peer.worker_id)
        elif mode == NONE:
            status, payload = kinds.MANY, []
        elif mode == SEVERAL:
            status, payload = kinds.MANY, _several(worker, peer, counter, value, count)
        else:
            status, payload = kinds.PLAIN, value  # how many items a generator has made
    except Exception as error:  # the value cannot be pickled or stored
        send_error(worker, peer, counter, started, error, name, ids, ends, answer)
        return
    del value
    if ids:
        kept = kept_references(worker, ids)
        if kept:
            more["kept"] = kept
    duration = int((time.perf_counter() - started) * 1e6)
    item = [counter, duration, status, payload]
    if more:
        item.append(more)
    (answer or worker.answer)(peer, item)


def send_error(
    worker: Worker,
    peer: Peer,
    counter: int,
    started: float,
    error: BaseException,
    name: str,
    ids: list[bytes] | None,
    ends: bool = False,
    answer: Answer | None = None,
) -> None:
    """Queue the answer of a call that raised, or give it to `answer`."""
    more: dict[str, Any] = {}
    if ends:
        more["end"] = True
    if isinstance(error, ArgumentLost):
        more["lost"] = error.ids
    execution = worker.execution()
    if worker.client.config.post_mortem and isinstance(error, Exception):
        _stand_still(execution, error)
    printed = "" if execution is None else execution.printed
    payload = dump_error(error, name, os.getpid(), worker.node_hex, printed)
    error.__traceback__ = None  # its frames hold the arguments
    if ids:
        kept = kept_references(worker, ids)
        if kept:
            more["kept"] = kept
    duration = int((time.perf_counter() - started) * 1e6)
    item = [counter, duration, kinds.ERROR, payload]
    if more:
        item.append(more)
    (answer or worker.answer)(peer, item)


def _stand_still(execution: Execution | None, error: Exception) -> None:
    """Let a person look at a call that raised; nothing that goes wrong with that is the call's matter."""
    if execution is None or not execution.cancelled:
        from shoal.debugging import stop_after

        try:
            stop_after(error)
        except Exception:
            _log.exception("a person could not look at %s", error)


def _several(worker: Worker, peer: Peer, counter: int, value: Any, count: int) -> list[Any]:
    if not isinstance(value, Iterable):
        raise ValueError(f"num_returns={count}, but the call returned one {type(value).__name__}")
    values = list(value)
    if len(values) != count:
        raise ValueError(f"num_returns={count}, but the call returned {len(values)} values")
    encoded = []
    for index, one in enumerate(values):
        object_id = peer.worker_id + counter.to_bytes(8, "big") + index.to_bytes(4, "big")
        encoded.append(_item(worker, peer, one, object_id))
    return encoded


def _item(worker: Worker, peer: Peer, value: Any, object_id: bytes) -> list[Any]:
    status, payload, refs = encode(worker.client, value, object_id)
    contained = None
    if refs:
        with worker.reactor.lock:
            contained = worker.client.objects.give(refs, peer.worker_id)
    return [status, payload, contained]


class ItemSender:
    """Sends what a generator yields, one item at a time, no faster than the consumer reads."""

    def __init__(self, worker: Worker, execution: Execution, backpressure: int) -> None:
        self._worker = worker
        self._execution = execution
        self._backpressure = backpressure
        self.count = 0

    def send(self, value: Any) -> None:
        """Send one item."""
        execution = self._execution
        peer = execution.peer
        index = self.count
        prefix = peer.worker_id + execution.counter.to_bytes(8, "big")
        item = _item(self._worker, peer, value, prefix + (index + 1).to_bytes(4, "big"))
        self.count = index + 1
        worker = self._worker
        with worker.reactor.lock:
            worker.client.peers.send(peer, [kinds.STREAM_ITEM, execution.counter, index, item])
            worker.reactor.flush()

    @property
    def must_wait(self) -> bool:
        """Whether the consumer has to read first."""
        return 0 < self._backpressure <= self.count - self._execution.taken

    def may_go_on(self) -> bool:
        """Whether there is room for one item more, or nobody to wait for."""
        execution = self._execution
        return not self.must_wait or execution.cancelled or execution.peer.gone

    def wait(self) -> None:
        """Wait until there is room for one item more."""
        if self.must_wait:
            self._worker.client.wait_until(self.may_go_on, None)
        if self._execution.cancelled or self._execution.peer.gone:
            raise TaskCancelled(f"{self._execution.name} was cancelled")


def run_generator(worker: Worker, execution: Execution, iterable: Any, mode: int, backpressure: int) -> int:
    """Send every item; return how many there were."""
    sender = ItemSender(worker, execution, backpressure if mode == STREAMING else 0)
    iterator = iter(iterable)
    try:
        for value in iterator:
            sender.send(value)
            del value
            sender.wait()
    finally:
        close: Callable[[], None] | None = getattr(iterator, "close", None)
        if close is not None:
            close()
    return sender.count


def is_generated(mode: int) -> bool:
    """Tell whether results are items of a generator."""
    return mode in (STREAMING, DYNAMIC)


def mode_of(extra: dict[str, Any] | None) -> tuple[int, int, int]:
    """Return (mode, number of returns, items that may be sent ahead) of a call."""
    if not extra:
        return SINGLE, 1, 0
    mode = extra.get("m", SINGLE)
    return mode, extra.get("n", 1) if mode != DYNAMIC else 1, extra.get("bp", 0)
