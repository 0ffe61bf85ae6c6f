"""PdbDebugger: Python's own debugger, over a socket on loopback, for who knows the secret."""

from __future__ import annotations

import pdb
import secrets
import socket
import time
from typing import Any, ClassVar

from shoal.interfaces.debugger import Announce, Debugger, Stopped

_SAY_SECONDS = 10.0  # for the first line
_IDLE_SECONDS = 3600.0  # for any later one


class PdbDebugger(Debugger):
    """`shoal debug` attaches to it; so does `nc 127.0.0.1 PORT`, of which the first line must be the secret."""

    name: ClassVar[str] = "pdb"

    def wait(self, stopped: Stopped, announce: Announce, seconds: float) -> bool:
        secret = secrets.token_hex(16)
        end = time.monotonic() + seconds
        with socket.create_server(("127.0.0.1", 0)) as server:
            facts = {"port": server.getsockname()[1], "secret": secret}
            with announce(facts, "`shoal debug` on this node's machine comes to it"):
                link = _visitor(server, secret, end)
        if link is None:
            return False
        session = _Session(link)
        if stopped.traceback is not None:
            session.look_at(stopped)
        else:
            session.set_trace(stopped.frame)
        return True


def _visitor(server: socket.socket, secret: str, end: float) -> socket.socket | None:
    while (left := end - time.monotonic()) > 0:
        server.settimeout(left)
        try:
            link, _ = server.accept()
        except TimeoutError:
            return None
        link.settimeout(_SAY_SECONDS)
        if _knows(link, secret):
            link.settimeout(_IDLE_SECONDS)
            return link
        link.close()
    return None


def _knows(link: socket.socket, secret: str) -> bool:
    said = b""
    try:
        while not said.endswith(b"\n") and len(said) < 100:
            part = link.recv(1)
            if not part:
                return False
            said += part
    except OSError:
        return False
    return secrets.compare_digest(said.strip(), secret.encode())


class _Session(pdb.Pdb):
    """pdb that talks to one connection and leaves the program's streams alone."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        # Two files: writing to one that is read as well drops what was typed ahead.
        self._typed = link.makefile("r", encoding="utf-8", errors="replace")
        self._said = link.makefile("w", encoding="utf-8", errors="replace")
        super().__init__(stdin=self._typed, stdout=self._said)
        self.prompt = "(shoal debug) "

    def look_at(self, stopped: Stopped) -> None:
        """Look at the frames of an error, until the visitor leaves."""
        try:
            self.reset()
            self.message(stopped.error)
            self.interaction(None, stopped.traceback)
        except OSError:  # the visitor's machine is gone
            pass
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        for end in (self._typed, self._said, self._link):
            try:
                end.close()
            except OSError:
                continue

    def set_continue(self) -> None:
        """Go on with the program, and hang up if no breakpoint is left."""
        super().set_continue()
        if not self.breaks:
            self._hang_up()

    def do_EOF(self, arg: str) -> Any:
        """Go on: a visitor who leaves must not end the program."""
        self.clear_all_breaks()
        return self.do_continue(arg)

    def set_quit(self) -> None:
        """End the call: it raises bdb.BdbQuit."""
        super().set_quit()
        self._hang_up()
