"""The way from a node to a head on another machine: one gRPC stream, in threads of its own, renewed while it can be.

While nothing answers at the head's address because its process is gone, the node waits for it to come back and goes on
with its work. When the head is silent on a connection that stands, or cannot be reached at all, this may be a
partition, in which the head gives this node up: the node then fences itself off before the head's patience ends.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from shoal.errors import AuthenticationFailed, SystemFailure
from shoal.native.head.rpc import MESSAGE_BYTES
from shoal.native.security.certificates import Credentials
from shoal.native.security.tls import grpc_channel_credentials
from shoal.native.wire import control
from shoal.native.wire.handshake import ClientHandshake
from shoal.native.wire.kinds import PROTOCOL
from shoal.native.wire.protobuf import SERVICE, TO_HEAD, TO_NODE, HeadMessage
from shoal.spec.version import VERSION, python_version

_log = logging.getLogger("shoal.daemon")

_ANSWER_SECONDS = 10.0
_AGAIN_SECONDS = 0.2
_MOST_TOGETHER = 1000  # messages in one
_MOST_QUEUED = 100_000
# What is told anew when the head is back: its own messages for it, or among what lives here, or asked again.
_NOT_KEPT = frozenset(
    {
        control.CLIENT_GONE,
        control.DEMANDS,
        control.FROM_CLIENT,
        control.JOBS_USE,
        control.QUOTA_ASK,
        control.QUOTA_RETURN,
        control.RENEW,
        control.RESOURCES,
    }
)

Message = list[Any]


class RemoteHead:
    """The head as a node on another machine reaches it. `up` may be called from the daemon's loop only."""

    def __init__(
        self,
        address: str,
        token: bytes,
        identity: bytes,
        node_id: bytes,
        credentials: Credentials | None = None,
        host: str = "",
    ) -> None:
        """`credentials` are this node's for TLS, in which the head's certificate must be for `host`; None: no TLS."""
        self.address = address
        self._token = token
        self._identity = identity
        self._node_id = node_id
        self._credentials = credentials
        self._host = host
        self.number = 0
        self._channel: grpc.Channel | None = None
        self._out: queue.Queue[Message | None] = queue.Queue(_MOST_QUEUED)
        self._answers: Iterator[Any] = iter(())
        self._attached = False
        self._kept: list[Message] = []  # said while there was no connection
        self._lock = threading.Lock()

    # Beginning

    def hello(self, patience: float, on_wait: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
        """Connect, prove the token, get a number; return the cluster's settings.

        Tries for `patience` seconds if nobody answers. Raises SystemFailure, AuthenticationFailed.
        """
        deadline = time.monotonic() + patience
        told = False
        while True:
            try:
                return self._hello()
            except grpc.RpcError as error:
                self._hang_up()
                text = _why(error)
                if _code(error) is grpc.StatusCode.UNAUTHENTICATED:
                    raise AuthenticationFailed(
                        f"the head at {self.address} refuses this node: {text}. The token must be the cluster's own"
                    ) from None
                if time.monotonic() >= deadline:
                    raise SystemFailure(
                        f"no head answers at {self.address} (tried for {patience:g} s): {text}. Is the address right, "
                        "and was `shoal start --head` run there?"
                    ) from None
                if not told:
                    told = True
                    on_wait(f"waiting for a head at {self.address}: {text}")
            time.sleep(_AGAIN_SECONDS)

    def _hello(self) -> dict[str, Any]:
        self._out = queue.Queue(_MOST_QUEUED)
        self._channel = self._open_channel()
        try:
            grpc.channel_ready_future(self._channel).result(timeout=_ANSWER_SECONDS / 5)
        except grpc.FutureTimeoutError:
            raise _NotReachable(
                "nobody answers"
                if self._credentials is None
                else "nobody answers with TLS and a certificate of ours"
            ) from None
        call = self._channel.stream_stream(
            SERVICE,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=HeadMessage.FromString,
        )
        self._answers = call(self._say(self._out))
        handshake = ClientHandshake(self._token, self._identity)
        self._out.put([control.HANDSHAKE, handshake.feed(self._expect(control.HANDSHAKE)[0])])
        handshake.feed(self._expect(control.HANDSHAKE)[0])
        self._out.put([control.HELLO, self._node_id, self.number, PROTOCOL, VERSION, python_version()])
        self.number, settings = self._expect(control.WELCOME)
        return dict(settings)

    def _open_channel(self) -> grpc.Channel:
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self._credentials is None:
            return grpc.insecure_channel(self.address, options=options)
        made, more = grpc_channel_credentials(self._credentials, self._host)
        return grpc.secure_channel(self.address, made, options=[*options, *more])

    def _expect(self, kind: int) -> list[Any]:
        message = TO_NODE.decode(next(self._answers))
        if message[0] == control.REFUSED:
            raise SystemFailure(f"the head at {self.address} does not let this node join: {message[1]}")
        if message[0] != kind:
            raise AuthenticationFailed(f"what answers at {self.address} is no head of ours")
        return message[1:]

    @staticmethod
    def _say(out: queue.Queue[Message | None]) -> Iterator[Any]:
        while (message := out.get()) is not None:
            messages = [message]
            if message[0] != control.JOIN:  # with which the head begins to listen
                with contextlib.suppress(queue.Empty):  # what was said in one go is sent in one go
                    while len(messages) < _MOST_TOGETHER and (message := out.get_nowait()) is not None:
                        messages.append(message)
            yield TO_HEAD.encode_several(messages)
            if message is None:
                return

    def join(self, message: Message) -> None:
        """Say what this node has."""
        with self._lock:
            self._out.put(message)
            self._attached = True

    def send_kept(self) -> None:
        """Say what was said while there was no connection."""
        with self._lock:
            for kept in self._kept:
                self._out.put(kept)
            self._kept.clear()

    # The stream

    def up(self, message: Message) -> None:
        """Send to the head, now or when it is back."""
        with self._lock:
            if self._attached:
                self._out.put(message)
            elif message[0] not in _NOT_KEPT:
                self._kept.append(message)

    def listen(self, on_messages: Callable[[list[Message]], None]) -> str:
        """Hand on what the head says until the stream breaks; return why it did."""
        try:
            for received in self._answers:
                on_messages(TO_NODE.decode_several(received))
        except grpc.RpcError as error:
            return _why(error)
        finally:
            self._hang_up()
        return "the head has ended the connection"

    def _hang_up(self) -> None:
        with self._lock:
            self._attached = False
        self._out.put(None)
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def close(self) -> None:
        """End the connection."""
        self._hang_up()


class _NotReachable(grpc.RpcError):  # type: ignore[misc]
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return str(self)


def _code(error: grpc.RpcError) -> Any:
    code = getattr(error, "code", None)
    return code() if callable(code) else None


def _why(error: grpc.RpcError) -> str:
    details = getattr(error, "details", None)
    return (details() if callable(details) else "") or str(error)
