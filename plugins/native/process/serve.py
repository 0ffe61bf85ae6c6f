"""The beginning of a web service's process: finds the service by name and lets it serve until the head ends.

Arguments are the service's name and how nice it is to be. Standard input has the setup as a line of JSON; its end is
the head's end. Descriptor 3 is the socket.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

_SOCKET = 3
_GRACE_SECONDS = 1.5  # less than the head waits before it kills


def main() -> None:
    """Serve; never returns."""
    name, nice = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(nice)
    sock = socket.socket(fileno=_SOCKET)
    os.set_inheritable(_SOCKET, False)
    line = _first_line()
    ended = threading.Event()
    threading.Thread(target=_end_with_head, args=(ended,), name="shoal-lifeline", daemon=True).start()
    from shoal.errors import ConfigError, PluginError
    from shoal.interfaces.services import GIVE_UP, WebSetup
    from shoal.native.process.session import Session
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import SERVICES

    fields = json.loads(line)
    _open_log(fields["folder"], name)
    os.environ["SHOAL_ENGINE"] = "native"  # whose session this is, whatever the program's surroundings say
    session = Session.read(fields["folder"])
    # Plugins may lie where only the driver looks.
    sys.path.extend(entry for entry in session.path if entry not in sys.path)
    try:
        serve: Any = load_driver(SERVICES, name)
        serve(WebSetup(**fields, sock=sock, ended=ended))
    except (ConfigError, PluginError) as error:  # what another try does not mend
        logging.getLogger("shoal.dashboard").error("%s", error)
        os._exit(GIVE_UP)
    os._exit(0)


def _first_line() -> bytes:
    """Read without a buffer: one that a thread waits in cannot be taken down with the interpreter."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            os._exit(0)  # the head has ended meanwhile
        line += part
    return line


def _end_with_head(ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ended.set()
    threading.Event().wait(_GRACE_SECONDS)
    os._exit(0)


def _open_log(folder: str, name: str) -> None:
    from logging.handlers import RotatingFileHandler

    handler = RotatingFileHandler(
        os.path.join(folder, "logs", f"{name}.log"), maxBytes=8 * 2**20, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel("INFO")


if __name__ == "__main__":
    main()
