"""A network between a client and a head, in the test's hands: it passes bytes on, and cuts, stalls or refuses."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType


class _Pair:
    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far

    def close(self) -> None:
        for sock in (self.near, self.far):
            # RST or FIN, as comes: the one that is not read to the end gets a reset.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Forwarder:
    """Listens on a port of its own and passes everything on to `target` (host:port). One thread serves it."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._open = True
        self._stalled = False
        self._cut_after: int | None = None
        self.passed = 0  # bytes, both ways
        self.reads = 0  # how often something was passed on
        self.connections = 0
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, name="forwarder", daemon=True)
        self._thread.start()

    # What a test does

    def cut(self) -> None:
        """Break every connection; new ones are passed on."""
        with self._lock:
            self._cut()

    def cut_after(self, count: int) -> None:
        """Break every connection once so many more bytes were passed on, in the middle of whatever that is."""
        with self._lock:
            self._cut_after = count

    def close_port(self) -> None:
        """Break every connection, and refuse new ones until `open_port`."""
        with self._lock:
            self._open = False
            self._cut()

    def open_port(self) -> None:
        """Let new connections in again."""
        with self._lock:
            self._open = True

    def stall(self, stalled: bool) -> None:
        """Pass nothing on, or go on, with every connection still there."""
        with self._lock:
            self._stalled = stalled

    # The network

    def _cut(self) -> None:
        self._cut_after = None
        for pair in self._pairs:
            for sock in (pair.near, pair.far):
                self._selector.unregister(sock)
            pair.close()
        self._pairs.clear()

    def _serve(self) -> None:
        while not self._ended:
            events = self._selector.select(0.02)
            with self._lock:
                for key, _ in events:
                    if key.data is None:
                        self._accept()
                    elif key.data in self._pairs and not self._stalled:
                        self._pass_on(key.data, key.fileobj)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            near, _ = self._listening.accept()
            if not self._open:
                near.close()
                return
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:
                near.close()
                return
            self.connections += 1
            pair = _Pair(near, far)
            self._pairs.add(pair)
            for sock in (near, far):
                sock.settimeout(5)
                self._selector.register(sock, selectors.EVENT_READ, pair)

    def _pass_on(self, pair: _Pair, source: object) -> None:
        assert isinstance(source, socket.socket)
        target = pair.far if source is pair.near else pair.near
        try:
            data = source.recv(1 << 16)
            if self._cut_after is not None:
                data_now = data[: self._cut_after]
                self._cut_after -= len(data_now)
                target.sendall(data_now)
                if self._cut_after == 0:
                    self._cut()
                return
            target.sendall(data)
            self.passed += len(data)
            self.reads += 1
        except OSError:
            data = b""
        if not data:
            self._drop(pair)

    def _drop(self, pair: _Pair) -> None:
        self._pairs.discard(pair)
        for sock in (pair.near, pair.far):
            self._selector.unregister(sock)
        pair.close()

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join(10)
        self._listening.close()
        with self._lock:
            self._cut()
        self._selector.close()
