"""A connection under TLS, for the reactor."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable

from shoal.native.security.tls import explain
from shoal.native.transport.connection import READ_SIZE, Connection, Handshake, Message

_log = logging.getLogger("shoal.tls")


class SecuredConnection(Connection):
    """A connection whose bytes go through TLS, after a preamble that does not.

    TLS is begun at the first flush of a socket that is connected; what is sent before it stands waits.
    """

    __slots__ = ("_context", "_host", "_plain", "_shaken", "_wrapped")

    def __init__(
        self,
        sock: socket.socket,
        handshake: Handshake,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
        on_open: Callable[[Connection], None] | None,
        context: ssl.SSLContext,
        host: str | None,
        preamble: bytes = b"",
    ) -> None:
        """`host` is the name that the server's certificate must have; None: this is the server."""
        super().__init__(sock, handshake, on_message, on_close, on_open)
        self._context = context
        self._host = host
        self._plain = preamble
        self._wrapped = False
        self._shaken = False

    @property
    def has_output(self) -> bool:
        """Whether something waits to go out, or the TLS handshake has to go on."""
        return not self._shaken or bool(self._out)

    def _advance(self) -> None:
        """Go on with the TLS handshake. Raises BlockingIOError, ssl.SSLWant…Error if it must wait, OSError."""
        while self._plain:
            self._plain = self._plain[self.sock.send(self._plain) :]
        if not self._wrapped:
            self._wrapped = True
            self.sock = self._context.wrap_socket(
                self.sock,
                server_side=self._host is None,
                server_hostname=self._host,
                do_handshake_on_connect=False,
            )
        assert isinstance(self.sock, ssl.SSLSocket)
        self.sock.do_handshake()
        self._shaken = True

    def _give_up(self, error: Exception) -> None:
        if self._shaken or not isinstance(error, ssl.SSLError):
            return
        level = (
            logging.INFO if self._host is None else logging.WARNING
        )  # anybody may knock; whom we call is ours
        _log.log(level, "a connection failed: %s", explain(error))

    def flush(self) -> bool:
        """Write what the socket takes. Return whether it has to be watched for room."""
        if self.closed:
            return False
        try:
            if not self._shaken:
                self._advance()
            self._write()
        except (BlockingIOError, ssl.SSLWantWriteError):
            self.blocked = True
            return True
        except ssl.SSLWantReadError:
            self.blocked = False
            return False
        except (OSError, ValueError) as error:
            self._give_up(error)
            self._out.clear()
            # Not here: whoever sends does not expect that its tables change under it.
            self.close_soon()
            return False
        self.blocked = False
        return False

    def _write(self) -> None:
        if not self._out:
            return
        data = memoryview(b"".join(self._out))
        position = 0
        try:
            while position < len(data):  # each call makes one record
                position += self.sock.send(data[position:])
        finally:
            # A record that was begun is tried again with the same bytes in front, and perhaps more behind them.
            self._out = [bytes(data[position:])] if position < len(data) else []

    def on_readable(self) -> None:
        """Read what is there, all that was decrypted included, since epoll does not see that."""
        parts: list[bytes] = []
        size = 0
        over = False
        try:
            if not self._shaken:
                self._advance()
                self.attend()  # what waited may go out
            assert isinstance(self.sock, ssl.SSLSocket)
            while size < READ_SIZE or self.sock.pending():
                data = self.sock.recv(READ_SIZE)
                if not data:
                    over = True
                    break
                parts.append(data)
                size += len(data)
        except ssl.SSLWantWriteError:
            self.attend()
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            pass
        except (OSError, ValueError) as error:
            self._give_up(error)
            over = True
        if parts:
            self._take(b"".join(parts) if len(parts) > 1 else parts[0])
        if over:
            self.close()
