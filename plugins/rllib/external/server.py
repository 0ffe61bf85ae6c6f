"""Answers programs that play: HTTP with JSON bodies, behind a token, on loopback unless told otherwise."""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MOST_BYTES = 16 << 20
_IDLE_SECONDS = 300.0
_MOST_CONNECTIONS = 256


class PolicyServer:
    """Serves `answers` (functions by the names of questions) until it is closed.

    Raises OSError if the port is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        answers: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]],
    ) -> None:
        room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        connected: set[socket.socket] = set()
        self._connected = connected

        class Handler(BaseHTTPRequestHandler):
            """One connection."""

            protocol_version = "HTTP/1.1"
            timeout = _IDLE_SECONDS
            # Head and body in one write, at once: else each answer waits for an acknowledgement of 40 ms.
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def do_POST(self) -> None:  # the standard library's name
                given = self.headers.get("Authorization", "")
                size = int(self.headers.get("Content-Length") or 0)
                if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                    self._answer(401, {"error": "a wrong token, or none"}, close=True)
                    return
                if not 0 < size <= _MOST_BYTES:
                    self._answer(413, {"error": f"a body has 1 to {_MOST_BYTES} bytes"}, close=True)
                    return
                answer = answers.get(self.path.strip("/"))
                try:
                    told = json.loads(self.rfile.read(size))
                    if answer is None or not isinstance(told, dict):
                        raise ValueError(
                            f"POST one of {', '.join(f'/{name}' for name in answers)} with an object"
                        )
                    found = answer(told)
                except (ValueError, KeyError, TypeError) as error:  # what came is wrong
                    self._answer(400, {"error": str(error)})
                except Exception as error:  # a module of a user
                    self._answer(500, {"error": f"{type(error).__name__}: {error}"})
                else:
                    self._answer(200, found)

            def _answer(self, status: int, told: dict[str, Any], close: bool = False) -> None:
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if close:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *more: Any) -> None:
                """Say nothing: a line for each action would be too much."""

        class Bounded(ThreadingHTTPServer):
            """At most so many connections at a time; others wait in the system's queue."""

            daemon_threads = True

            def process_request(self, request: Any, client_address: Any) -> None:
                room.acquire()
                connected.add(request)
                super().process_request(request, client_address)

            def process_request_thread(self, request: Any, client_address: Any) -> None:
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    connected.discard(request)
                    room.release()

        self._server = Bounded((host, port), Handler)
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="shoal-policy-server", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it is found."""
        return f"http://{self.host}:{self.port}"

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        for each in list(self._connected):  # who plays on is to see that nobody answers any more
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
