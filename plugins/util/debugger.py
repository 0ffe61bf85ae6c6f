"""A breakpoint in a task or actor: pdb over a socket on loopback."""

from __future__ import annotations

import pdb
import secrets
import socket
import sys
from types import FrameType
from typing import Any

_LISTEN_SECONDS = 600.0


class _Session(pdb.Pdb):
    """pdb that talks to one connection and leaves the program's streams alone."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._file = link.makefile("rw", encoding="utf-8")
        super().__init__(stdin=self._file, stdout=self._file)

    def hang_up(self) -> None:
        """Close the connection: the program goes on."""
        self._file.close()
        self._link.close()

    def do_continue(self, arg: str) -> Any:
        """Go on with the program, and close the connection if there is no breakpoint left."""
        stop = super().do_continue(arg)
        if not self.breaks:
            self.hang_up()
        return stop

    do_c = do_cont = do_continue


def set_trace(breakpoint_uuid: str | None = None) -> None:
    """Stop here until a debugger has come and said `continue`.

    The line that is printed says where to connect (a port on loopback) and what to type first, so that no other user
    of the machine can; `nc` will do. In an engine that runs in the calling process this is `pdb.set_trace()`.
    `breakpoint_uuid` names the breakpoint in that line. Goes on with a warning if nobody comes within ten minutes.

    Example: `nc 127.0.0.1 40123`
    """
    frame = sys._getframe(1)
    if sys.stdin is not None and sys.stdin.isatty():
        pdb.Pdb().set_trace(frame)
        return
    _serve(frame, breakpoint_uuid or "breakpoint")


def _serve(frame: FrameType, name: str) -> None:
    token = secrets.token_hex(8)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_LISTEN_SECONDS)
        port = server.getsockname()[1]
        print(
            f"{name} at {frame.f_code.co_filename}:{frame.f_lineno}: nc 127.0.0.1 {port}, then type {token}",
            flush=True,
        )
        while True:
            try:
                link, _ = server.accept()
            except TimeoutError:
                print(f"{name}: nobody came, going on", flush=True)
                return
            link.settimeout(_LISTEN_SECONDS)
            if _knows(link, token):
                break
            link.close()
    _Session(link).set_trace(frame)


def _knows(link: socket.socket, token: str) -> bool:
    said = b""
    try:
        while b"\n" not in said and len(said) < 100:
            part = link.recv(1)
            if not part:
                return False
            said += part
    except OSError:
        return False
    return secrets.compare_digest(said.strip(), token.encode())
