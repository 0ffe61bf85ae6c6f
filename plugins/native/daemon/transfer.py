"""Objects between nodes: threads that send files of the store to others, and fetch from them into it.

A connection begins with the door's preamble and the handshake. Then the fetching side asks by a frame, [object, offset,
whether to be sent it here], and is answered by a frame, [size of the object, or −1 if it is not here], and the bytes
from `offset` on; or by [−2, address] of another node that has it, since many want it at once (`turns.py`), before which
come any number of [−3]: it waits for its turn.

Bytes go from file to socket by `sendfile` and from socket to file by `splice`, so that they are copied once on either
side and never by this process. Under TLS they are read, encrypted and decrypted here, since the kernel cannot.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import select
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.errors import ShoalError
from shoal.interfaces.store import SupportsFiles
from shoal.native.daemon.turns import Turns
from shoal.native.process.packages import package_path
from shoal.native.transport.links import Links
from shoal.native.wire import preamble
from shoal.native.wire.handshake import ClientHandshake
from shoal.native.wire.nodes import daemon_of

if TYPE_CHECKING:
    from shoal.interfaces.store import ObjectStore

_log = logging.getLogger("shoal.daemon")

_SECONDS = 10.0  # that a side may be silent
_IDLE_SECONDS = 30.0  # that a connection is kept for the next object
_SENDERS = 32
_TREE_BYTES = 1 << 20  # smaller objects are sent to whoever asks
_MOST_HOPS = 4  # from node to node, after which the one that was asked first has to send
_MOST_CALLERS = 64
_CHUNK = 1 << 23
_SECURED_CHUNK = 1 << 20
_PIPE = 1 << 20
_F_SETPIPE_SZ = 1031
_NONE, _ELSEWHERE, _WAITING = -1, -2, -3  # answers
_MOST_QUESTION = 4_096  # bytes of a frame


class Sender:
    """Answers other nodes' questions for objects of this node's store."""

    def __init__(self, store: ObjectStore, secured: bool, folder: str) -> None:
        """`secured`: whether connections are under TLS, where `sendfile` cannot be used.

        `folder` is the session's, whose packages other nodes may ask for, too.
        """
        self._folder = folder
        self._store = store
        self._files = store if isinstance(store, SupportsFiles) else None
        self._send_file = _send_part if secured else _sendfile
        self._callers: queue.Queue[tuple[socket.socket, bytes, str] | None] = queue.Queue(_MOST_CALLERS)
        self._turns = Turns()
        self._threads = 0
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False

    def take(self, sock: socket.socket, unsent: bytes, address: str) -> None:
        """Serve a connection whose other side, the node at `address`, has proved itself. Never waits.

        It is sent `unsent` first.
        """
        try:
            self._callers.put_nowait((sock, unsent, address))
        except queue.Full:
            sock.close()
            return
        if not self._idle.acquire(blocking=False) and self._threads < _SENDERS:
            self._threads += 1
            threading.Thread(target=self._work, name="shoal-send", daemon=True).start()

    def _work(self) -> None:
        while (caller := self._callers.get()) is not None:
            sock, unsent, address = caller
            with self._lock:
                self._open.add(sock)
            try:
                self._serve(sock, unsent, address)
            except (OSError, msgspec.DecodeError, ValueError) as error:
                _log.info("sending objects ended: %s", error)
            except Exception:
                _log.exception("sending objects failed")
            finally:
                with self._lock:
                    self._open.discard(sock)
                sock.close()
            if self._closed:
                return
            self._idle.release()

    def _serve(self, sock: socket.socket, unsent: bytes, address: str) -> None:
        sock.settimeout(_SECONDS)
        _tune(sock)
        sock.sendall(unsent)
        while not self._closed:
            sock.settimeout(_IDLE_SECONDS)
            question = _read_frame(sock)
            if question is None:
                return
            sock.settimeout(_SECONDS)
            wanted, offset, here = question
            if isinstance(wanted, str):
                self._send_package(sock, wanted)
            elif here:
                self._send(sock, wanted, offset)
            else:
                self._send_in_turn(sock, wanted, offset, address)

    def _send_in_turn(self, sock: socket.socket, object_id: bytes, offset: int, address: str) -> None:
        """Send an object, or send on to who has got it while others are being sent it."""
        if not self._is_large(object_id):
            self._send(sock, object_id, offset)
            return
        other = self._turns.enter(object_id, lambda: sock.sendall(_frame([_WAITING])))
        if other:
            sock.sendall(_frame([_ELSEWHERE, other]))
            return
        sent = ""
        try:
            self._send(sock, object_id, offset)
            sent = address
        finally:
            self._turns.leave(object_id, sent)

    def _is_large(self, object_id: bytes) -> bool:
        opened = None if self._files is None else self._files.open_file(object_id)
        if opened is None:
            return False
        os.close(opened[0])
        return opened[2] >= _TREE_BYTES

    def _send_package(self, sock: socket.socket, digest: str) -> None:
        try:
            descriptor = os.open(package_path(self._folder, digest), os.O_RDONLY)
        except FileNotFoundError:
            sock.sendall(_frame([_NONE]))
            return
        self._send_opened(sock, descriptor, 0, os.fstat(descriptor).st_size, 0)

    def _send(self, sock: socket.socket, object_id: bytes, offset: int) -> None:
        if self._files is None:
            view = self._store.get(object_id)
            sock.sendall(_frame([_NONE if view is None else len(view)]))
            if view is not None:
                sock.sendall(view[offset:])
            return
        opened = self._files.open_file(object_id)
        if opened is None:
            sock.sendall(_frame([_NONE]))
            return
        self._send_opened(sock, *opened, offset)

    def _send_opened(self, sock: socket.socket, descriptor: int, start: int, size: int, offset: int) -> None:
        try:
            sock.sendall(_frame([size]))
            end = start + size
            position = start + offset
            while position < end:
                position += self._send_file(sock, descriptor, position, min(_CHUNK, end - position))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """End every connection."""
        self._closed = True
        for _ in range(self._threads):
            with contextlib.suppress(queue.Full):
                self._callers.put_nowait(None)
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _sendfile(sock: socket.socket, descriptor: int, position: int, count: int) -> int:
    """Send some bytes of a file, waiting for room within the socket's timeout. Raises OSError."""
    while True:
        try:
            sent = os.sendfile(sock.fileno(), descriptor, position, count)
        except BlockingIOError:
            _wait(sock, select.POLLOUT)
            continue
        if not sent:
            raise OSError("the file is shorter than its object")
        return sent


def _send_part(sock: socket.socket, descriptor: int, position: int, count: int) -> int:
    """Send some bytes of a file through TLS, which the kernel cannot do for us. Raises OSError."""
    part = os.pread(descriptor, min(count, _SECURED_CHUNK), position)
    if not part:
        raise OSError("the file is shorter than its object")
    sock.sendall(part)
    return len(part)


Then = Callable[[str, bool], None]


class Fetcher:
    """Copies objects of other nodes into this node's store: threads, each with one connection at a time."""

    def __init__(self, store: ObjectStore, token: bytes, number: int, threads: int, links: Links) -> None:
        self._store = store
        self._token = token
        self._identity = daemon_of(number)
        self._links = links
        # Under TLS bytes pass through this process, and so they do where the system has no `splice`.
        splices = hasattr(os, "splice") and not links.secured
        self._files = store if splices and isinstance(store, SupportsFiles) else None
        self._jobs: queue.SimpleQueue[tuple[bytes, int, str, Then] | None] = queue.SimpleQueue()
        self._most = threads
        self._threads = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def fetch(self, object_id: bytes, size: int, address: str, then: Then) -> None:
        """Copy an object from the node at `address`.

        `then` gets, in one of the threads, "" or why it was not done, and whether that may be otherwise the next time.
        """
        with self._lock:
            self._busy += 1
            more = self._busy > self._threads and self._threads < self._most
            self._threads += more
        if more:
            threading.Thread(target=self._work, name="shoal-fetch", daemon=True).start()
        self._jobs.put((object_id, size, address, then))

    def _work(self) -> None:
        connections: dict[str, socket.socket] = {}
        while (job := self._jobs.get()) is not None:
            object_id, size, address, then = job
            reason = ""
            passing = True
            try:
                self._copy(connections, object_id, size, address)
            except NotThere as error:
                reason = str(error)
                passing = False
            except (OSError, ShoalError, ValueError, msgspec.DecodeError) as error:
                reason = f"{type(error).__name__}: {error}"
            except Exception as error:
                _log.exception("fetching an object failed")
                reason = repr(error)
            with self._lock:
                self._busy -= 1
            then(reason, passing)
        for sock in connections.values():
            self._drop(sock)

    def _drop(self, sock: socket.socket | None) -> None:
        if sock is not None:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _copy(self, connections: dict[str, socket.socket], object_id: bytes, size: int, address: str) -> None:
        if self._store.contains(object_id):
            return
        # The room comes first: making it may take longer than the other side waits for its bytes to be read.
        made = None if self._files is None else self._files.create_file(object_id, size)
        view = self._store.create(object_id, size) if made is None else None
        source = ""
        try:
            try:
                source = self._begin(connections, object_id, size, address)
                if made is not None:
                    _splice(connections[source], *made, size)
                if view is not None:
                    _receive(connections[source], view)
            finally:
                if made is not None:
                    os.close(made[0])
                if view is not None:
                    view.release()
        except BaseException:
            self._drop(connections.pop(source, None))
            self._store.abort(object_id)
            raise
        self._store.seal(object_id)

    def _begin(self, connections: dict[str, socket.socket], object_id: bytes, size: int, address: str) -> str:
        """Ask for an object; return the address of the node from whose connection its bytes are to be read."""
        source, hops = address, 0
        while True:
            try:
                found, other = self._ask_at(connections, source, object_id, hops >= _MOST_HOPS)
            except (OSError, ShoalError):
                if source == address:
                    raise
                found, other = _NONE, ""
            hops += 1
            if other:
                source = other
            elif found >= 0:
                break
            elif source == address:
                raise NotThere(f"object {object_id.hex()} is not there")
            else:
                source = address  # it is not where that was believed to be (yet): ask the first one again
        if found != size:
            self._drop(connections.pop(source))
            raise ValueError(f"object {object_id.hex()} has {found:,} bytes there, and not {size:,}")
        return source

    def _ask_at(
        self, connections: dict[str, socket.socket], address: str, object_id: bytes, here: bool
    ) -> tuple[int, str]:
        """Ask one node; return the object's size there, −1 if it has none, or the address of another node to ask."""
        sock = connections.get(address)
        if sock is not None:
            try:
                return self._ask(sock, object_id, here)
            except OSError:  # it was idle for too long
                self._drop(connections.pop(address))
        connections[address] = sock = self._connect(address)
        try:
            return self._ask(sock, object_id, here)
        except BaseException:
            self._drop(connections.pop(address))
            raise

    def _connect(self, address: str) -> socket.socket:
        host, _, port = address.rpartition(":")
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS)
        try:
            _tune(sock)
            sock.sendall(preamble.naming(preamble.TRANSFER))
            if self._links.secured:
                from shoal.native.security.tls import connect_tls

                sock = connect_tls(sock, self._links.client_context(), self._links.host_of(address), _SECONDS)
                sock.settimeout(_SECONDS)
            handshake = ClientHandshake(self._token, self._identity)
            sock.sendall(handshake.feed(_exactly(sock, handshake.wants)))
            handshake.feed(_exactly(sock, handshake.wants))
        except BaseException:
            sock.close()
            raise
        with self._lock:
            self._open.add(sock)
        return sock

    def fetch_package(self, digest: str, address: str, path: str) -> None:
        """Copy a package that the node at `address` has to a new file, and wait for it. Raises OSError, ShoalError."""
        sock = self._connect(address)
        try:
            left, _ = self._ask(sock, digest, True)
            if left < 0:
                raise NotThere(f"package {digest} is not there")
            with open(path, "wb") as file:
                while left:
                    data = sock.recv(min(_CHUNK, left))
                    if not data:
                        raise ConnectionResetError(f"the connection ended {left:,} bytes before the end")
                    file.write(data)
                    left -= len(data)
        finally:
            self._drop(sock)

    def _ask(self, sock: socket.socket, wanted: bytes | str, here: bool) -> tuple[int, str]:
        sock.sendall(_frame([wanted, 0, here]))
        while True:
            answer = _read_frame(sock)
            if answer is None:
                raise ConnectionResetError("the other node has closed the connection")
            if answer[0] == _ELSEWHERE:
                return _NONE, str(answer[1])
            if answer[0] != _WAITING:
                return int(answer[0]), ""

    def close(self) -> None:
        """End every thread."""
        for _ in range(self._threads):
            self._jobs.put(None)
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


class NotThere(OSError):
    """The other node does not have the object (any more)."""


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 1 << 22)


def _receive(sock: socket.socket, view: memoryview) -> None:
    position, end = 0, len(view)
    while position < end:
        count = sock.recv_into(view[position:], min(_CHUNK, end - position))
        if not count:
            raise ConnectionResetError(f"the connection ended after {position:,} of {end:,} bytes")
        position += count


def _splice(sock: socket.socket, descriptor: int, offset: int, size: int) -> None:
    """Move bytes from a connection into a file without a look at them. Raises OSError."""
    reading, writing = os.pipe()
    try:
        with contextlib.suppress(OSError):  # a user may have only so much in pipes
            fcntl.fcntl(writing, _F_SETPIPE_SZ, _PIPE)
        left = size
        while left:
            try:
                count = os.splice(sock.fileno(), writing, min(_PIPE, left))
            except BlockingIOError:
                _wait(sock, select.POLLIN)
                continue
            if not count:
                raise ConnectionResetError(f"the connection ended after {size - left:,} of {size:,} bytes")
            left -= count
            while count:
                moved = os.splice(reading, descriptor, count, offset_dst=offset)
                offset += moved
                count -= moved
    finally:
        os.close(reading)
        os.close(writing)


def _wait(sock: socket.socket, event: int) -> None:
    poll = select.poll()
    poll.register(sock, event)
    if not poll.poll(_SECONDS * 1000):
        raise TimeoutError(f"nothing moved for {_SECONDS:g} s")


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionResetError("the connection ended")
        data += part
    return data


def _frame(message: list[Any]) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "little") + body


def _read_frame(sock: socket.socket) -> list[Any] | None:
    """Return the next frame, None at the end of the connection. Raises ValueError for one that is too long."""
    first = sock.recv(1)
    if not first:
        return None
    size = int.from_bytes(first + _exactly(sock, 3), "little")
    if size > _MOST_QUESTION:
        raise ValueError(f"a question of {size} bytes")
    message: list[Any] = msgspec.msgpack.decode(_exactly(sock, size), type=list)
    return message
