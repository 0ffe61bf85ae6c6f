"""Errands: something is looked up on this node or another, in a thread, for somebody who looks at the session.

At most four at a time on a node, so that who looks too often gets an error, and the node's tasks their processors.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.errors import ConfigError, ShoalError, SystemFailure
from shoal.ids import NodeID
from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")
_AT_ONCE = 4
_SECONDS = 120.0  # for another node to answer
_ERRORS: Mapping[str, type[Exception]] = {
    "ConfigError": ConfigError,
    "LookupError": LookupError,
    "SystemFailure": SystemFailure,
}

Answer = Callable[[bool, Any], None]  # done: and the answer, or not: and [kind of error, text]


class Errands:
    """Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._running = 0
        self._numbers = 0
        self._away: dict[int, Answer] = {}

    def ask(self, client: bytes, request: int, node: str, what: str, facts: dict[str, Any]) -> None:
        """A client wants something looked up on a node."""

        def answer(ok: bool, value: Any) -> None:
            if not ok:
                value = pickle.dumps(_ERRORS.get(value[0], SystemFailure)(value[1]))
            self._daemon.tell(client, [kinds.REPLY, request, ok, value])
            self._daemon.reactor.flush()

        own = self._daemon.session.node_id.hex()
        if node in ("", own):
            self._begin(what, facts, answer)
            return
        try:
            other = self._daemon.nodes.number_of(NodeID.from_hex(node))
        except (ValueError, TypeError):
            other = None
        self._numbers += 1
        number = self._numbers
        if other is None or not self._daemon.nodes.send(other, [kinds.ASK_ERRAND, number, what, facts]):
            answer(False, ["LookupError", f"node {node} is not known, or has ended"])
            return
        self._away[number] = answer
        self._daemon.call_later(_SECONDS, lambda: self._late(number, node))

    def _late(self, number: int, node: str) -> None:
        answer = self._away.pop(number, None)
        if answer is not None:
            answer(False, ["SystemFailure", f"node {node} did not answer within {_SECONDS:g} s"])

    def asked(self, node: int, number: int, what: str, facts: dict[str, Any]) -> None:
        """Another node wants something looked up here."""

        def answer(ok: bool, value: Any) -> None:
            packed = msgspec.msgpack.encode(value)
            self._daemon.nodes.send(node, [kinds.ERRAND_DONE, number, ok, packed])
            self._daemon.reactor.flush()

        self._begin(what, facts, answer)

    def done(self, node: int, number: int, ok: bool, packed: bytes) -> None:
        """Another node has looked it up."""
        answer = self._away.pop(number, None)
        if answer is not None:
            answer(ok, msgspec.msgpack.decode(packed))

    def _begin(self, what: str, facts: dict[str, Any], answer: Answer) -> None:
        if what == "log part":  # no more than a read: many may follow logs
            answer(*_run(what, self._daemon.session.folder, 0, facts))
            return
        if self._running >= _AT_ONCE:
            answer(
                False, ["ConfigError", f"this node does {_AT_ONCE} of these at a time; try again in a moment"]
            )
            return
        try:
            pid = 0 if what == "log" else self._process(facts)
        except LookupError as error:
            answer(False, ["LookupError", str(error.args[0])])
            return
        self._running += 1
        folder = self._daemon.session.folder

        def run() -> None:
            ok, value = _run(what, folder, pid, facts)

            def tell() -> None:
                self._running -= 1
                answer(ok, value)

            self._daemon.call_soon(tell)

        threading.Thread(target=run, name="shoal-errand", daemon=True).start()

    def _process(self, facts: dict[str, Any]) -> int:
        """Return the process that is meant; only those of this session are looked into."""
        wanted = str(facts.get("worker", ""))
        if wanted == "daemon":
            return os.getpid()
        for worker in self._daemon.pool.workers.values():
            if wanted in (worker.worker_id.hex(), str(worker.pid)) and worker.pid:
                return worker.pid
        for client in self._daemon.clients.values():
            if wanted in (client.worker_id.hex(), str(client.pid)) and client.pid:
                return client.pid
        raise LookupError(f"no process {wanted[:80]!r} of this session lives on this node")


def _run(what: str, folder: str, pid: int, facts: Mapping[str, Any]) -> tuple[bool, Any]:
    try:
        # Here, since who is never looked at needs none of it.
        from shoal.native.process.probes import probe

        return True, probe(what, folder, pid, facts)
    except ShoalError as error:
        return False, [type(error).__name__, str(error)]
    except LookupError as error:
        return False, ["LookupError", str(error.args[0]) if error.args else "it is not there"]
    except Exception as error:  # whatever it is, nobody may wait for an answer that does not come
        _log.exception("errand %r failed", what)
        return False, ["SystemFailure", f"{what!r} failed: {error!r}; see the node's log"]
