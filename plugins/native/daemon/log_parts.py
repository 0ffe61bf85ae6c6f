"""Parts of log files, of this node or another one: whoever may look at a session may read what it has printed."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.ids import NodeID
from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}")
_MOST_BYTES = 1 << 20  # of one part
_SECONDS = 5.0

# position where the part begins, its bytes, size of the file, text that says why there are none
Part = tuple[int, bytes, int, str]


def read_part(folder: str, name: str, start: int, size: int) -> Part:
    """Read a part of a session's log file; a negative start counts from its end."""
    if not _NAME.fullmatch(name):
        return 0, b"", 0, f"{name!r} is no name of a log file"
    try:
        file = os.open(os.path.join(folder, "logs", name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        return 0, b"", 0, f"log file {name!r}: {error.strerror}"
    try:
        end = os.fstat(file).st_size
        start = max(0, end + start) if start < 0 else min(start, end)
        return start, os.pread(file, max(0, min(size, _MOST_BYTES)), start), end, ""
    finally:
        os.close(file)


class LogParts:
    """Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[bytes, int, int]] = {}  # question: client, its request, node

    def ask(self, client: bytes, request: int, node: bytes, name: str, start: int, size: int) -> None:
        """A process wants a part of a log; it gets a reply."""
        daemon = self._daemon
        if node == daemon.session.node_id:
            self._reply(client, request, read_part(daemon.session.folder, name, start, size))
            return
        other = daemon.nodes.number_of(NodeID(node))
        number = next(self._numbers)
        if other is None or not daemon.nodes.send(other, [kinds.ASK_LOG, number, name, start, size]):
            self._reply(
                client, request, (0, b"", 0, f"node {node.hex()} is not part of the cluster, or is dead")
            )
            return
        self._waiting[number] = client, request, other
        daemon.call_later(_SECONDS, lambda: self._give_up(number))

    def asked(self, node: int, number: int, name: str, start: int, size: int) -> None:
        """Another node wants a part of one of this node's logs."""
        part = read_part(self._daemon.session.folder, name, start, size)
        self._daemon.nodes.send(node, [kinds.LOG_IS, number, msgspec.msgpack.encode(part)])

    def from_node(self, node: int, number: int, packed: bytes) -> None:
        """Another node has answered."""
        waiting = self._waiting.get(number)
        if waiting is not None and waiting[2] == node:
            del self._waiting[number]
            self._reply(waiting[0], waiting[1], msgspec.msgpack.decode(packed))

    def _give_up(self, number: int) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            text = f"node {waiting[2]} did not answer within {_SECONDS:g} s"
            self._reply(waiting[0], waiting[1], (0, b"", 0, text))

    def _reply(self, client: bytes, request: int, part: Any) -> None:
        self._daemon.tell(client, [kinds.REPLY, request, True, part])
