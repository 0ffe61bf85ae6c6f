"""ClickHouse's own engine (the package chdb) behind as much of its HTTP interface as its Python client uses.

Run as a program it prints its port, and serves until its standard input is closed.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_INSERT = re.compile(r"\s*(INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)\s*$", re.IGNORECASE | re.DOTALL)


def serve() -> None:
    """Serve on a free port of this machine."""
    from chdb import session

    engine, turn = session.Session(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self._body())

        def _body(self) -> bytes:
            length = self.headers.get("Content-Length")
            if length is not None:
                return self.rfile.read(int(length))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, body: bytes) -> None:
            given = parse_qs(urlsplit(self.path).query).get("query")
            sql, data = (given[0], body) if given else (body.decode(), b"")
            try:
                with turn:
                    answer, status, code = run(sql, data), 200, None
            except Exception as error:  # what the engine says goes to the client, as ClickHouse does it
                found = re.search(r"Code: (\d+)", str(error))
                answer, status, code = str(error).encode(), 500, found.group(1) if found else "1"
            self.send_response(status)
            if code is not None:
                self.send_header("X-ClickHouse-Exception-Code", code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def run(sql: str, data: bytes) -> bytes:
        insert = _INSERT.match(sql)
        if insert is None:
            found = engine.query(sql, "TabSeparated")
            return (found.bytes() if found is not None else b"") or b""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            engine.query(f"{insert.group(1)} SELECT * FROM file('{file.name}', '{insert.group(2)}')")
        return b""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    serve()
