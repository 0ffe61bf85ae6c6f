"""The ASGI server of a proxy: uvicorn, with bounds for those who send slowly, and its own idea of signals."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from shoal.serve.config import HTTPOptions

_DRAIN_SECONDS = 10


class Server(uvicorn.Server):
    """A server within an actor's process, whose signals are the actor's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    def protocol(self) -> asyncio.Protocol:
        """Return what serves one connection, for those who accept by themselves."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state={}
        )
        return made


def make_server(app: Any, http: HTTPOptions, **changes: Any) -> Server:
    """Return a server of an ASGI application. Raises OSError and ssl.SSLError for files of TLS that do not work."""
    settings: dict[str, Any] = {
        "http": bounded_protocol(http),
        "ws": "auto",
        "ws_max_size": http.max_body_bytes,
        "lifespan": "off",
        "loop": "asyncio",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "date_header": True,
        "proxy_headers": False,
        "root_path": http.root_path,
        "timeout_keep_alive": max(1, round(http.keep_alive_timeout_s)),
        "timeout_graceful_shutdown": _DRAIN_SECONDS,
        "h11_max_incomplete_event_size": http.max_header_bytes,
        "limit_concurrency": http.max_connections,
        "ssl_keyfile": http.ssl_keyfile,
        "ssl_certfile": http.ssl_certfile,
        "ssl_keyfile_password": http.ssl_keyfile_password,
        "ssl_ca_certs": http.ssl_ca_certs,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if http.ssl_ca_certs else ssl.CERT_NONE,
        **changes,
    }
    return Server(uvicorn.Config(app, **settings))


def bounded_protocol(http: HTTPOptions) -> Any:
    """Return uvicorn's protocol with a bound on the size and the time of a request's head."""
    base: Any = AutoHTTPProtocol

    class Bounded(base):  # type: ignore[misc]
        """Counts what comes before a head is whole, and for how long."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(http.header_timeout_s, self._too_slow)

        def data_received(self, data: bytes) -> None:
            cycle = self.cycle
            waits = cycle is None or cycle.response_complete
            if waits:
                self._head_bytes += len(data)
                if self._head_timer is None:
                    self._head_timer = self.loop.call_later(http.header_timeout_s, self._too_slow)
            super().data_received(data)
            if self.cycle is not cycle:  # the head is whole
                self._head_bytes = 0
                if self._head_timer is not None:
                    self._head_timer.cancel()
                    self._head_timer = None
            elif waits and self._head_bytes > http.max_header_bytes and not self.transport.is_closing():
                self._refuse(431, b"Request Header Fields Too Large")

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            super().connection_lost(exc)

        def handle_websocket_upgrade(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            super().handle_websocket_upgrade()

        def _too_slow(self) -> None:
            self._head_timer = None
            if not self.transport.is_closing():
                self._refuse(408, b"Request Timeout")

        def _refuse(self, status: int, reason: bytes) -> None:
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s\n" % (status, reason, len(reason) + 1, reason)
            )
            self.transport.close()

    return Bounded
