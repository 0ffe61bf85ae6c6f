"""DebugpyDebugger: debugpy, to which editors attach. It asks for no secret, so it must be chosen by a setting."""

from __future__ import annotations

import socket
import threading
from typing import Any, ClassVar

from shoal.errors import ConfigError
from shoal.interfaces.debugger import Announce, Debugger, Stopped


class DebugpyDebugger(Debugger):
    """An editor attaches to `127.0.0.1:PORT`. Whoever is on the machine can: debugpy knows no secrets."""

    name: ClassVar[str] = "debugpy"
    _address: ClassVar[tuple[str, int] | None] = None  # it can listen once in a process

    def wait(self, stopped: Stopped, announce: Announce, seconds: float) -> bool:
        debugpy: Any
        try:
            import debugpy  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            raise ConfigError(
                "debugger='debugpy' needs debugpy on every node: pip install 'shoal[debug]', or choose 'pdb'"
            ) from None
        if DebugpyDebugger._address is None:
            DebugpyDebugger._address = debugpy.listen(("127.0.0.1", _free_port()))
        host, port = DebugpyDebugger._address
        with announce({"debugpy": port}, f"attach an editor to {host}:{port} ('request': 'attach')"):
            timer = threading.Timer(seconds, debugpy.wait_for_client.cancel)
            timer.start()
            try:
                debugpy.wait_for_client()
            finally:
                timer.cancel()
        if not debugpy.is_client_connected():
            return False
        debugpy.breakpoint()  # the editor shows this frame; `stopped` has the error and its frames, if there is one
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
