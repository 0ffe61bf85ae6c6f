"""The ASGI server of a proxy that speaks HTTP/2 as well: hypercorn, with the bounds that uvicorn has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hypercorn.asyncio
from hypercorn.config import Config

if TYPE_CHECKING:
    from shoal.serve.config import HTTPOptions

_log = logging.getLogger("shoal.serve")
_DRAIN_SECONDS = 8.0
_REQUESTS_OF_A_CONNECTION = 1 << 31  # as many as somebody likes, as over HTTP/1.1
_REST_SECONDS = 10.0  # for the end of a body that nobody wants
_BUSY = b"Service Unavailable\n"


class Http2Server:
    """Serves HTTP/1.1 and HTTP/2: over TLS as the client prefers (ALPN), without TLS if it begins with HTTP/2.

    Has what the proxy's actor needs of a uvicorn server: `serve`, `started` and `should_exit`.
    """

    def __init__(self, app: Any, http: HTTPOptions) -> None:
        self._app = app
        self._most = http.max_connections
        self._running = 0
        self._config = _config_of(http)
        self._ends = asyncio.Event()
        self.started = False

    @property
    def should_exit(self) -> bool:
        """Whether it has been told to end."""
        return self._ends.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._ends.set()

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Take the connections of listening sockets until told to end; then finish what runs, within a bound."""
        # The server closes its descriptors by itself.
        self._config.bind = [f"fd://{os.dup(each.fileno())}" for each in sockets]
        try:
            await hypercorn.asyncio.serve(
                self._bounded, self._config, shutdown_trigger=self._until_end, mode="asgi"
            )
        finally:
            for each in sockets:
                each.close()

    async def _until_end(self) -> None:
        self.started = True  # hypercorn waits here once it accepts
        await self._ends.wait()

    async def _bounded(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request to the application, unless too many run. Connections are not counted: one carries many."""
        if scope["type"] == "lifespan":
            return
        if self._running >= self._most and scope["type"] == "http":
            fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1")]
            await send({"type": "http.response.start", "status": 503, "headers": fields})
            await send({"type": "http.response.body", "body": _BUSY})
            return
        if scope["type"] == "http" and scope["http_version"] == "2":
            stream = _Stream(receive, send)
            receive, send = stream.receive, stream.send
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1


class _Stream:
    """Reads a request to its end before the answer's.

    With that hypercorn forgets the stream, and breaks the connection, with all that it carries, at whatever of the body
    comes later: an answer that needs no body, such as a 404 or a 413, would cost others theirs.
    """

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send
        self._whole = False

    async def receive(self) -> Any:
        """Return the next message of the client."""
        message = await self._receive()
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Any) -> None:
        """Send a message of the application."""
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and not self._whole:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._rest(), _REST_SECONDS)
        await self._send(message)

    async def _rest(self) -> None:
        while not self._whole:
            await self.receive()


def _config_of(http: HTTPOptions) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = _log
    config.include_server_header = False
    config.root_path = http.root_path
    config.keep_alive_timeout = http.keep_alive_timeout_s
    config.keep_alive_max_requests = _REQUESTS_OF_A_CONNECTION
    config.graceful_timeout = _DRAIN_SECONDS
    config.h11_max_incomplete_size = http.max_header_bytes
    config.h2_max_header_list_size = http.max_header_bytes
    config.websocket_max_message_size = http.max_body_bytes
    if http.ssl_certfile is not None:
        config.certfile, config.keyfile = http.ssl_certfile, http.ssl_keyfile
        config.keyfile_password = http.ssl_keyfile_password
        config.ca_certs = http.ssl_ca_certs
        config.verify_mode = ssl.CERT_REQUIRED if http.ssl_ca_certs else ssl.CERT_NONE
        config.create_ssl_context()  # raises for files that do not work
    return config
