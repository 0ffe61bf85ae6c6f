"""What makes the connections between nodes: under TLS where the session has certificates, plain otherwise."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.native.transport.connection import Connection, Handshake, Message

if TYPE_CHECKING:
    import ssl

    from shoal.native.security.certificates import Credentials

# OpenSSL is loaded when a connection first needs it: most workers never do.


class Links:
    """Makes connections between nodes: under TLS where the session has certificates, the same otherwise."""

    def __init__(self, credentials: Credentials | None, host: str = "") -> None:
        """`credentials` are this node's, None for no TLS.

        `host` is the name that every node's certificate has, "" if each has the host of its address.
        """
        self._credentials = credentials
        self._host = host
        self._server: ssl.SSLContext | None = None
        self._client: ssl.SSLContext | None = None

    @property
    def secured(self) -> bool:
        """Whether connections are under TLS."""
        return self._credentials is not None

    def accepted(
        self,
        sock: socket.socket,
        handshake: Handshake,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
        on_open: Callable[[Connection], None] | None = None,
    ) -> Connection:
        """Return the connection of a caller from another node, once the preamble has been read."""
        if self._credentials is None:
            return Connection(sock, handshake, on_message, on_close, on_open)
        from shoal.native.transport.secured import SecuredConnection

        context = self.server_context()
        return SecuredConnection(sock, handshake, on_message, on_close, on_open, context, None)

    def calling(
        self,
        sock: socket.socket,
        address: str,
        preamble: bytes,
        handshake: Handshake,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
        on_open: Callable[[Connection], None] | None = None,
    ) -> Connection:
        """Return the connection over a socket that is being connected to another node's `address`."""
        if self._credentials is None:
            return Connection(sock, handshake, on_message, on_close, on_open, preamble)
        from shoal.native.transport.secured import SecuredConnection

        host = self.host_of(address)
        context = self.client_context()
        return SecuredConnection(sock, handshake, on_message, on_close, on_open, context, host, preamble)

    def host_of(self, address: str) -> str:
        """Return the name that the certificate of the node at an address must have."""
        return self._host or address.rpartition(":")[0].strip("[]")

    def server_context(self) -> ssl.SSLContext:
        """Return the settings of who accepts, made at the first use. Raises ConfigError."""
        if self._server is None:
            from shoal.native.security.tls import server_context

            assert self._credentials is not None
            self._server = server_context(self._credentials)
        return self._server

    def client_context(self) -> ssl.SSLContext:
        """Return the settings of who connects, made at the first use. Raises ConfigError."""
        if self._client is None:
            from shoal.native.security.tls import client_context

            assert self._credentials is not None
            self._client = client_context(self._credentials)
        return self._client
