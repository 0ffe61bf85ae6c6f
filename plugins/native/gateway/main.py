"""The beginning of a gateway. Arguments: session folder, driver, own name, grace in seconds, lifeline."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys


def main() -> None:
    """Serve one client; end with it, or with the daemon, whose end of the socket then closes."""
    folder, driver, identity, grace, descriptor = sys.argv[1:6]
    lifeline = socket.socket(fileno=int(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from shoal.native.process.session import Session

    session = Session.read(folder)
    # Modules that only the one who started the node knows of are importable for workers, too.
    sys.path.extend(entry for entry in session.path if entry not in sys.path)
    _open_log(folder, session.config.get("log_level", "info"), session.config.get("log_format", "text"))
    asyncio.run(_serve(session, bytes.fromhex(driver), bytes.fromhex(identity), float(grace), lifeline))
    os._exit(0)


async def _serve(
    session: object, driver: bytes, identity: bytes, grace: float, lifeline: socket.socket
) -> None:
    from shoal.native.gateway.gateway import Gateway
    from shoal.native.process.session import Session

    assert isinstance(session, Session)
    loop = asyncio.get_running_loop()
    gateway = Gateway(session, driver, identity, grace)
    await gateway.begin()
    lifeline.setblocking(False)
    loop.add_reader(lifeline.fileno(), lambda: gateway.end("the node has ended"))
    loop.add_signal_handler(signal.SIGTERM, lambda: gateway.end("its gateway was ended"))
    lifeline.send(b"R")
    await gateway.ended.wait()
    loop.remove_reader(lifeline.fileno())
    if gateway.why:
        logging.getLogger("shoal.gateway").info("client %s: %s", driver.hex(), gateway.why)
    await gateway.close()


def _open_log(folder: str, level: str, log_format: str) -> None:
    from shoal.observe.logformat import log_formatter

    path = os.path.join(folder, "logs", "gateway.log")
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(
        log_formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", log_format)
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


if __name__ == "__main__":
    main()
