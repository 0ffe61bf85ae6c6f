"""The ASGI server of a proxy: uvicorn, with bounds for those who send slowly, and its own idea of signals."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from shoal.serve.proxy.protocol import bounded_protocol

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
