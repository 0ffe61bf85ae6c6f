"""The head's gRPC service: an asyncio loop in a thread of its own, which hands every message to the daemon's loop.

A node has one stream (`control.proto`). Nothing of it is looked at before the handshake has proved that the node knows
the cluster's token; a stream that does not begin with it in time is ended, and only so many may be beginning at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from shoal.errors import AuthenticationFailed, SystemFailure
from shoal.native.head.front import Front
from shoal.native.security.certificates import Credentials
from shoal.native.security.tls import grpc_server_credentials
from shoal.native.wire import control
from shoal.native.wire.handshake import ServerHandshake
from shoal.native.wire.kinds import PROTOCOL
from shoal.native.wire.protobuf import SERVICE, TO_HEAD, TO_NODE, NodeMessage
from shoal.spec.resources import ResourceSet
from shoal.spec.version import VERSION, python_version

if TYPE_CHECKING:
    from shoal.native.head.head import Head

_log = logging.getLogger("shoal.head")

_BEGIN_SECONDS = 10.0  # from the connection to the node's join
_MOST_BEGINNING = 256
_GATHER_SECONDS = 0.005  # what is in no hurry waits this long for what else there is to say
_LAST_SECONDS = 0.2  # for what was said last
_MOST_TOGETHER = 1000  # messages in one
_MOST_QUEUED = 100_000  # messages to a node that does not read: it is as good as gone
MESSAGE_BYTES = 1 << 29

Message = list[Any]
CallSoon = Callable[[Callable[[], None]], None]


class RemoteNode:
    """A node at the other end of a stream, as the head reaches it."""

    def __init__(self, tell_later: Callable[[RemoteNode, bool], None]) -> None:
        """`tell_later` has `tell` called in the service's loop, soon: once what is said now in one go is said."""
        self._tell_later = tell_later
        self._waiting: deque[Message] = deque()
        self._some = asyncio.Event()
        self.number = 0

    def send(self, message: Message, soon: bool = True) -> None:
        """Queue a message. Called in the daemon's loop."""
        self._waiting.append(message)
        self._tell_later(self, soon)

    @property
    def has_more(self) -> bool:
        """Whether messages wait."""
        return bool(self._waiting)

    def tell(self) -> None:
        """Messages wait. Called in the service's loop."""
        self._some.set()

    async def take(self) -> list[Message]:
        """Wait for messages and return them, oldest first; none of them if the node has left too many unread."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        if len(self._waiting) > _MOST_QUEUED:
            return []
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_TOGETHER))]

    def refresh(self) -> None:
        """Do nothing: a node that is elsewhere tells what is free by itself."""

    def report(self) -> None:
        """Do nothing, for the same reason."""


class ControlServer:
    """Serves the nodes of a cluster until `close`."""

    def __init__(
        self,
        head: Head,
        identity: bytes,
        token: bytes,
        settings: dict[str, Any],
        call_soon: CallSoon,
        path: str,
        admit: Callable[[socket.socket], None],
        credentials: Credentials | None = None,
    ) -> None:
        """`credentials` are the head's for TLS, None for none.

        gRPC itself listens at the Unix socket `path`; `admit` gets, in the daemon's loop, who came to the port for
        something else.
        """
        self._path = path
        self._front = Front(path, lambda sock: call_soon(lambda: admit(sock)))
        self._credentials = credentials
        self._head = head
        self._identity = identity
        self._token = token
        self._settings = settings
        self._call_soon = call_soon
        self._loop = asyncio.new_event_loop()
        self._server: grpc.aio.Server | None = None
        self._beginning = 0
        self._nodes: set[RemoteNode] = set()
        self._soon: dict[RemoteNode, None] = {}  # those with messages that wait, in the daemon's loop
        self._told: dict[RemoteNode, None] = {}  # those with messages that may wait longer
        self.port = 0

    def _tell_later(self, node: RemoteNode, soon: bool) -> None:
        waiting = self._soon if soon else self._told
        if not waiting:
            # Soon is when the daemon's loop has done what it is at.
            tell = self._tell_soon if soon else self._tell
            self._head.call_later(0.0 if soon else _GATHER_SECONDS, tell)
        waiting[node] = None

    def _tell_soon(self) -> None:
        self._soon, soon = {}, self._soon
        self._wake(soon)

    def _tell(self) -> None:
        self._told, told = {}, self._told
        self._wake(told)

    def _wake(self, told: dict[RemoteNode, None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and so has this head
            self._loop.call_soon_threadsafe(_tell_all, told)

    def start(self, host: str, port: int) -> int:
        """Listen on `host`:`port` (0: any free one); return the port. Raises SystemFailure if it is taken."""
        threading.Thread(target=self._loop.run_forever, name="shoal-head-rpc", daemon=True).start()
        try:
            self.port = asyncio.run_coroutine_threadsafe(self._start(host, port), self._loop).result(30)
        except (RuntimeError, OSError) as error:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise SystemFailure(
                f"the head cannot listen on {host}:{port}: {error}. Is another one running there? Choose another port"
            ) from error
        return self.port

    async def _start(self, host: str, port: int) -> int:
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.server_handshake_timeout_ms", int(_BEGIN_SECONDS * 1000)),
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
            ]
        )
        handler = grpc.stream_stream_rpc_method_handler(
            self._attach,
            request_deserializer=NodeMessage.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        _, service, method = SERVICE.split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        bound = self._front.start(host, port)
        where = f"unix:{self._path}"
        if self._credentials is None:
            server.add_insecure_port(where)
        else:
            server.add_secure_port(where, grpc_server_credentials(self._credentials))
        await server.start()
        self._server = server
        return bound

    async def _attach(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if self._beginning >= _MOST_BEGINNING:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many connections are beginning")
        node = RemoteNode(self._tell_later)
        self._beginning += 1
        try:
            await asyncio.wait_for(self._begin(node, context), _BEGIN_SECONDS)
        except (AuthenticationFailed, asyncio.TimeoutError, _Refused) as error:
            if isinstance(error, _Refused):
                await context.write(TO_NODE.encode([control.REFUSED, str(error)]))
                return
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error) or "the handshake took too long")
        finally:
            self._beginning -= 1
        self._nodes.add(node)
        writer = asyncio.ensure_future(self._write(node, context))
        try:
            await self._read(node, context)
        finally:
            writer.cancel()
            self._nodes.discard(node)
            self._call_soon(lambda: self._head.detach(node.number, node))

    async def _begin(self, node: RemoteNode, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Shake hands, and let the node in. Raises AuthenticationFailed, _Refused."""
        handshake = ServerHandshake(self._token, self._identity)
        await context.write(TO_NODE.encode([control.HANDSHAKE, handshake.begin()]))
        answer = (await self._expect(context, control.HANDSHAKE))[0]
        if len(answer) != handshake.wants:
            raise AuthenticationFailed("the handshake has a wrong length")
        await context.write(TO_NODE.encode([control.HANDSHAKE, handshake.feed(answer)]))
        node_id, number, protocol, version, python = await self._expect(context, control.HELLO)
        _check_versions(protocol, version, python)
        node.number = await self._in_daemon(lambda: self._admit(node_id, number))
        await context.write(TO_NODE.encode([control.WELCOME, node.number, self._settings]))
        address, total, labels, facts = await self._expect(context, control.JOIN)
        await self._in_daemon(
            lambda: self._head.attach(node, node.number, node_id, address, ResourceSet(total), labels, facts)
        )

    def _admit(self, node_id: bytes, number: int) -> int:
        reason, admitted = self._head.admit(node_id, number)
        if reason:
            raise _Refused(reason)
        return admitted

    async def _expect(self, context: grpc.aio.ServicerContext[Any, Any], kind: int) -> list[Any]:
        received: Any = await context.read()
        if received is grpc.aio.EOF:
            raise AuthenticationFailed("the connection ended in the middle of the handshake")
        message = TO_HEAD.decode(received)
        if message[0] != kind:
            raise AuthenticationFailed("the connection did not begin with the handshake")
        return message[1:]

    async def _in_daemon(self, work: Callable[[], Any]) -> Any:
        """Run something in the daemon's loop and wait for what it returns or raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def run() -> None:
            try:
                value = work()
            except Exception as error:  # it belongs to the stream that asked
                loop.call_soon_threadsafe(_settle, future, None, error)
            else:
                loop.call_soon_threadsafe(_settle, future, value, None)

        self._call_soon(run)
        return await future

    async def _read(self, node: RemoteNode, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        head = self._head
        while (received := await context.read()) is not grpc.aio.EOF:
            messages = TO_HEAD.decode_several(received)
            self._call_soon(functools.partial(head.on_messages, node.number, messages, node))

    async def _write(self, node: RemoteNode, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while messages := await node.take():
            await context.write(TO_NODE.encode_several(messages))
            if any(message[0] == control.END for message in messages):
                break
        await context.abort(grpc.StatusCode.ABORTED, "the head has ended this connection")

    def close(self) -> None:
        """Stop serving: what was said before is sent, and streams end. The daemon's loop has ended."""
        self._tell_soon()
        self._tell()

        async def stop() -> None:
            deadline = self._loop.time() + _LAST_SECONDS
            while any(node.has_more for node in self._nodes) and self._loop.time() < deadline:
                await asyncio.sleep(0.005)
            if self._server is not None:
                await self._server.stop(0.2)
            self._front.close()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)


def _tell_all(nodes: dict[RemoteNode, None]) -> None:
    for node in nodes:
        node.tell()


class _Refused(Exception):
    """A node that has proved itself may not join."""


def _settle(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


def _check_versions(protocol: int, version: str, python: str) -> None:
    wanted = (PROTOCOL, VERSION, python_version())
    for name, theirs, ours in zip(
        ("protocol", "Shoal", "Python"), (protocol, version, python), wanted, strict=True
    ):
        if theirs != ours:
            raise _Refused(
                f"the node has {name} {theirs}, the head {ours}: all nodes of a cluster need the same; install "
                f"{name if name != 'protocol' else 'Shoal'} {ours if name != 'protocol' else VERSION} there"
            )
