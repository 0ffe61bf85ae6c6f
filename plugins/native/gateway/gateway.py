"""The gateway: one client's line on one side, the cluster's processes on the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import Any

from shoal.native.client.peers import DAEMON, socket_path
from shoal.native.gateway.link import Link
from shoal.native.gateway.relay import Relay
from shoal.native.gateway.services import Services
from shoal.native.process.session import Session
from shoal.native.process.store import open_store
from shoal.native.transport.connection import connect_tcp
from shoal.native.wire import line as words
from shoal.native.wire import preamble
from shoal.native.wire.line import Line, size_of
from shoal.native.wire.nodes import number_of

_log = logging.getLogger("shoal.gateway")

_TELL_SECONDS = 0.2
_CONNECT_SECONDS = 10.0
_LAST_SECONDS = 2.0  # that the last words of a client may take to their readers
_SILENCE_SECONDS = 120.0  # of a client that says every few seconds that it is there: its connection is dead
_MOST_CHANNELS = 20_000
_MOST_BEGINNING = 64  # connections that have proved nothing yet


class Gateway:
    """Lives as long as its client: until that says goodbye, or has been away for `grace` seconds."""

    def __init__(self, session: Session, driver: bytes, identity: bytes, grace: float) -> None:
        self.token = session.token
        self.driver = driver
        self.identity = identity
        self.ended = asyncio.Event()
        self.why = ""
        self._session = session
        self._grace = grace
        self._links = session.links()
        self._line = Line()
        self._link: Link | None = None
        self._heard = 0.0  # when the client has last said something
        self._beginning: dict[Link, None] = {}
        self._accepting = 0
        self._relays: dict[int, Relay] = {}
        self._channels = iter(range(1, 1 << 62, 2))  # odd ones are ours
        self._tasks: set[asyncio.Task[None]] = set()
        self._patience: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._servers: list[asyncio.AbstractServer] = []
        self._doors: list[tuple[socket.socket, str]] = []
        store = open_store(session, driver.hex())
        self._store = store
        self._services = Services(store, session.folder, session.number)

    # Life

    async def begin(self) -> None:
        """Listen for the cluster's processes and for the client."""
        loop = asyncio.get_running_loop()
        folder = self._session.folder
        path = socket_path(folder, self.driver)
        self._servers.append(await loop.create_unix_server(self._caller, path))
        self._listen(socket_path(folder, self.identity), self._on_client)
        if self._session.listen_host:
            self._listen(path, self._on_far_caller)
        self._wait_for_client()
        self._listen_for_silence()

    def _listen_for_silence(self) -> None:
        loop = asyncio.get_running_loop()
        if self._link is not None and loop.time() - self._heard > _SILENCE_SECONDS:
            self._link.drop()
        loop.call_later(_SILENCE_SECONDS / 8, self._listen_for_silence)

    def _listen(self, path: str, take: Any) -> None:
        """Take the connections that the node's door hands on."""
        path += preamble.DOOR_SUFFIX
        door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        door.setblocking(False)
        door.bind(path)
        self._doors.append((door, path))

        def readable() -> None:
            while True:
                try:
                    _, descriptors, _, _ = socket.recv_fds(door, 1, 1)
                except (BlockingIOError, InterruptedError):
                    return
                for descriptor in descriptors:
                    take(socket.socket(fileno=descriptor))

        asyncio.get_running_loop().add_reader(door.fileno(), readable)

    def end(self, why: str) -> None:
        """Nothing more is to be done for this client."""
        if not self.ended.is_set():
            self.why = why
            self.ended.set()

    async def close(self) -> None:
        """Pass on what the client said last, and let go of everything."""
        loop = asyncio.get_running_loop()
        if self._patience is not None:
            self._patience.cancel()
        for task in self._tasks:
            task.cancel()
        relays = list(self._relays.values())
        for relay in relays:
            relay.close()
        deadline = loop.time() + _LAST_SECONDS
        while any(not relay.closed for relay in relays) and loop.time() < deadline:
            await asyncio.sleep(0.002)
        if self._link is not None:
            if self.why:
                self._link.send([words.BYE, self.why])
            self._link.finish()
        for server in self._servers:
            server.close()
        for door, path in self._doors:
            loop.remove_reader(door.fileno())
            door.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path(self._session.folder, self.driver))
        self._services.close()
        self._store.close()
        deadline = loop.time() + _LAST_SECONDS
        while self._link is not None and loop.time() < deadline:
            await asyncio.sleep(0.002)

    def note(self, text: str) -> None:
        """Write a line into the log."""
        _log.warning("%s", text)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The client's connections

    def _on_client(self, sock: socket.socket) -> None:
        self._spawn(self._accept(sock, lambda: Link(self)))

    def beginning(self, link: Link) -> None:
        """A connection has begun. When too many have proved nothing, the one that began first goes."""
        self._beginning[link] = None
        if len(self._beginning) > _MOST_BEGINNING:
            next(iter(self._beginning)).drop()

    def begun(self, link: Link) -> None:
        """A connection has proved itself, or is closed."""
        self._beginning.pop(link, None)

    async def _accept(self, sock: socket.socket, make: Any) -> None:
        if self._accepting >= _MOST_BEGINNING:
            sock.close()
            return
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._accepting += 1
        try:
            if self._links.secured:
                context = self._links.server_context()
                await loop.connect_accepted_socket(
                    make, sock, ssl=context, ssl_handshake_timeout=_CONNECT_SECONDS
                )
            else:
                await loop.connect_accepted_socket(make, sock)
        except OSError as error:  # who knocks at an open door may be anybody
            _log.info("a connection failed: %s", error)
            sock.close()
        finally:
            self._accepting -= 1

    def _wait_for_client(self) -> None:
        if self._patience is None:
            loop = asyncio.get_running_loop()
            text = f"the client was away for {self._grace:g} s"
            self._patience = loop.call_later(self._grace, lambda: self.end(text))

    def link_lost(self, link: Link) -> None:
        """A connection is gone; if it was the client's, it may come back."""
        if link is self._link:
            self._link = None
            self._wait_for_client()

    def on_message(self, link: Link, message: list[Any]) -> None:
        """Take one message of a connection. Raises ValueError and the like for what cannot be."""
        kind = message[0]
        self._heard = asyncio.get_running_loop().time()
        if link is not self._link:
            if kind != words.RESUME:
                raise ValueError("it began with something else than where it goes on")
            self._resume(link, message[1])
        elif kind == words.NUMBERED:
            _, number, inner = message
            if self._line.receive(number, size_of(inner)):
                self._on_numbered(inner)
            self._tell(False)
        elif kind == words.RECEIVED:
            self._line.arrived(message[1])
        elif kind == words.PING:
            link.send([words.PONG])
        elif kind == words.BYE:
            self.end("")
        elif kind != words.PONG:
            raise ValueError(f"a message of unknown kind {kind!r}")

    def _resume(self, link: Link, number: int) -> None:
        again = self._line.resume(number)
        last, self._link = self._link, link
        if last is not None:
            last.drop()  # the client knows best which of its connections lives
        link.began()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        link.send([words.RESUME, self._line.received])
        for message in again:
            link.send(message)

    def _tell(self, now: bool) -> None:
        number = self._line.to_tell(now)
        if number:
            if self._link is not None:
                self._link.send([words.RECEIVED, number])
        elif not now and self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell_late)

    def _tell_late(self) -> None:
        self._telling = None
        self._tell(True)

    def send(self, message: list[Any]) -> None:
        """Send a numbered message to the client."""
        number = self._line.send(message, size_of(message))
        if self._link is not None:
            self._link.send([words.NUMBERED, number, message])

    # Channels

    def _on_numbered(self, message: list[Any]) -> None:
        kind = message[0]
        if kind == words.BYTES:
            relay = self._relays.get(message[1])
            if relay is not None:
                relay.write(message[2])
        elif kind == words.ASK:
            _, number, name, arguments = message
            wrong, value = self._services.answer(name, arguments)
            if number:
                self.send([words.ANSWER, number, wrong, value])
            elif wrong:
                self.note(f"{name}: {wrong}: {value}")
        elif kind == words.CREDIT:
            relay = self._relays.get(message[1])
            if relay is not None:
                relay.add_credit(message[2])
        elif kind == words.OPEN:
            self._open(*message[1:])
        elif kind == words.SHUT:
            relay = self._relays.pop(message[1], None)
            if relay is not None:
                relay.close()
        else:
            raise ValueError(f"a numbered message of unknown kind {kind!r}")

    def _open(self, channel: int, process: bytes, address: str) -> None:
        if channel in self._relays or len(self._relays) >= _MOST_CHANNELS or len(process) != 8:
            raise ValueError(f"channel {channel} cannot be opened")
        relay = self._relays[channel] = Relay(self, channel)
        self._spawn(self._connect(relay, process, address))

    async def _connect(self, relay: Relay, process: bytes, address: str) -> None:
        try:
            await asyncio.wait_for(self._reach(relay, process, address), _CONNECT_SECONDS)
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            _log.info("process %s cannot be reached: %s", process.hex(), error)
            relay.failed()

    async def _reach(self, relay: Relay, process: bytes, address: str) -> None:
        loop = asyncio.get_running_loop()
        if process == DAEMON or number_of(process) == self._session.number:
            await loop.create_unix_connection(lambda: relay, socket_path(self._session.folder, process))
            return
        sock = connect_tcp(address)
        try:
            await loop.sock_sendall(sock, preamble.naming(process))
            if self._links.secured:
                await loop.create_connection(
                    lambda: relay,
                    sock=sock,
                    ssl=self._links.client_context(),
                    server_hostname=self._links.host_of(address),
                )
            else:
                await loop.create_connection(lambda: relay, sock=sock)
        except BaseException:
            sock.close()
            raise

    def _caller(self, far: bool = False) -> Relay:
        """A process of this node, or of another one, wants to talk to the client, which demands its proof."""
        channel = next(self._channels)
        relay = self._relays[channel] = Relay(self, channel)
        self.send([words.OPEN, channel, words.FAR if far else words.NEAR, ""])
        return relay

    def _on_far_caller(self, sock: socket.socket) -> None:
        self._spawn(self._accept(sock, lambda: self._caller(far=True)))

    def relay_over(self, relay: Relay) -> None:
        """A process has closed its connection."""
        if self._relays.pop(relay.channel, None) is not None:
            self.send([words.SHUT, relay.channel])
