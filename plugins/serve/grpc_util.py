"""What methods that answer gRPC are given: the call's context, and the messages that its client sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

    Metadata = Sequence[tuple[str, str | bytes]]


class RayServegRPCContext:
    """What a method knows of its gRPC call, and what it says of the answer beside the message.

    A method with a parameter `grpc_context` gets one. Made of grpcio's own context at the proxy, it goes to the
    replica as a value; what is set there goes back with the answer, or with the error.

    Example:
        async def Predict(self, message, grpc_context):
            grpc_context.set_trailing_metadata([("model", "v2")])
    """

    def __init__(self, grpc_context: grpc.ServicerContext) -> None:
        self._auth_context = {
            name: list(values) for name, values in (grpc_context.auth_context() or {}).items()
        }
        self._invocation_metadata = [
            (str(key), value) for key, value in grpc_context.invocation_metadata() or ()
        ]
        self._peer: str = grpc_context.peer()
        identities = grpc_context.peer_identities()
        self._peer_identities = list(identities) if identities is not None else None
        self._peer_identity_key: str | None = grpc_context.peer_identity_key()
        self._trailing_metadata: list[tuple[str, str | bytes]] = []
        self._code: grpc.StatusCode | None = None
        self._details: str | None = None
        self._compression: grpc.Compression | None = None
        self._request_id = ""

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return what TLS says of the client, by property."""
        return self._auth_context

    def invocation_metadata(self) -> Metadata:
        """Return what the client sent as metadata."""
        return self._invocation_metadata

    def peer(self) -> str:
        """Return the client's address as gRPC writes it."""
        return self._peer

    def peer_identities(self) -> list[bytes] | None:
        """Return the names that the client has proved, None without TLS."""
        return self._peer_identities

    def peer_identity_key(self) -> str | None:
        """Return which property of `auth_context` has those names."""
        return self._peer_identity_key

    def code(self) -> grpc.StatusCode | None:
        """Return the status that was set, None if none was."""
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the call's status; with another than OK the client gets an error. Raises TypeError."""
        import grpc

        if not isinstance(code, grpc.StatusCode):
            raise TypeError(
                f"set_code takes a grpc.StatusCode, such as grpc.StatusCode.NOT_FOUND, not {code!r}"
            )
        self._code = code

    def details(self) -> str | None:
        """Return the text that was set, None if none was."""
        return self._details

    def set_details(self, details: str) -> None:
        """Set the text that goes with the status."""
        self._details = str(details)

    def trailing_metadata(self) -> Metadata:
        """Return what will be sent after the answer."""
        return self._trailing_metadata

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """Set what is sent after the answer; keys of bytes end in `-bin`."""
        self._trailing_metadata = [(str(key), value) for key, value in trailing_metadata]

    def set_compression(self, compression: grpc.Compression) -> None:
        """Set how the answer is compressed. Raises TypeError."""
        import grpc

        if not isinstance(compression, grpc.Compression):
            raise TypeError(f"set_compression takes a grpc.Compression, not {compression!r}")
        self._compression = compression

    def application(self) -> str:
        """Return the application that the client's metadata names, "" if it names none."""
        return self._sent("application")

    def multiplexed_model_id(self) -> str:
        """Return the model that the client's metadata names, "" if it names none."""
        return self._sent("multiplexed_model_id")

    def request_id(self) -> str:
        """Return the request's name: the client's, or the proxy's if it gave none."""
        return self._request_id or self._sent("request_id")

    def traceparent(self) -> str:
        """Return the client's `traceparent` (W3C), "" without one."""
        return self._sent("traceparent")

    def tracestate(self) -> str:
        """Return the client's `tracestate` (W3C), "" without one."""
        return self._sent("tracestate")

    def _sent(self, key: str) -> str:
        for name, value in self._invocation_metadata:
            if name == key:
                return value if isinstance(value, str) else value.decode("utf-8", "replace")
        return ""

    def _set_on_grpc_context(self, grpc_context: grpc.ServicerContext) -> None:
        """Say to grpcio what a method has said here, in the process that has grpcio's own."""
        if self._code is not None:
            grpc_context.set_code(self._code)
        if self._details is not None:
            grpc_context.set_details(self._details)
        if self._compression is not None:
            grpc_context.set_compression(self._compression)
        grpc_context.set_trailing_metadata((*self._trailing_metadata, ("request_id", self.request_id())))


class gRPCInputStream:  # noqa: N801  (the reference's name)
    """The messages that a client sends one after another: `async for message in stream`.

    What a method is given whose RPC has `stream` before its request. Iteration ends when the client has sent all, and
    earlier when it has gone: then `is_cancelled()` is true.
    """

    def __init__(
        self, request_iterator: AsyncIterator[Any], cancel_event: asyncio.Event | None = None
    ) -> None:
        self._messages = request_iterator
        self._cancelled = cancel_event or asyncio.Event()
        self._exhausted = False

    @property
    def is_exhausted(self) -> bool:
        """Whether all messages have been read."""
        return self._exhausted

    def is_cancelled(self) -> bool:
        """Tell whether the client has gone, or `cancel` was called."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Read no more: iteration ends."""
        self._cancelled.set()

    def __aiter__(self) -> gRPCInputStream:
        return self

    async def __anext__(self) -> Any:
        if self._exhausted or self._cancelled.is_set():
            raise StopAsyncIteration
        following = asyncio.ensure_future(anext(self._messages))
        gone = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise StopAsyncIteration
            return following.result()
        except StopAsyncIteration:
            self._exhausted = not self._cancelled.is_set()
            raise
        finally:
            following.cancel()
            gone.cancel()
