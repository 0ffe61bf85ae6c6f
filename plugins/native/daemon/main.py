"""The beginning of the daemon: arguments are its session's folder, the lifeline's descriptor, modules to import."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shoal.native.daemon.remote_head import RemoteHead
    from shoal.native.process.session import Session

# A thread that waits to run (the daemon's own, the head's service, gRPC's) interrupts another after this long: they
# hand each other small pieces of work, and Python's five milliseconds would be most of the time that a request takes.
_SWITCH_SECONDS = 0.0003


def main() -> None:
    """Fork the zygote while this process is still small and single-threaded, then be the daemon.

    The driver starts this process before it has looked up its plugins, so that both import at the same time: the
    session's settings are there when the driver says so on the lifeline.
    """
    folder, descriptor, preload = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    lifeline = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from shoal.native.process.zygote import RunWorker, fork_zygote

    def warm_up() -> None:
        from shoal.native.worker.main import warm_up

        warm_up(preload)

    def begin(folder: str) -> RunWorker:
        from shoal.native.worker.main import prepare, run_worker

        session = _join(folder)
        prepare(session)
        return lambda request: run_worker(session, request)

    def idle() -> None:
        from shoal.native.worker.main import warm_up_more

        warm_up_more()

    zygote_pid, link = fork_zygote(warm_up, begin, idle)  # from here on both import, at the same time
    from shoal.errors import ShoalError

    sys.setswitchinterval(_SWITCH_SECONDS)
    from shoal.native.daemon.daemon import Daemon
    from shoal.native.head.begin import open_metadata
    from shoal.native.process.folders import remove_folders

    if lifeline.recv(1) != b"B":
        _kill(zygote_pid)
        os._exit(0)  # the driver has changed its mind, or is gone
    session = _join(folder)
    remote = metadata = None
    if not session.standing:
        link.send(folder.encode())  # else its number is not known yet
    try:
        if session.head_address:
            session, remote = _join_cluster(session, lambda text: _say_waiting(lifeline, text))
        else:
            session, metadata = open_metadata(session)
    except ShoalError:
        _say_failure(lifeline)
        _kill(zygote_pid)
        remove_folders(session.folder, session.store_folder)
        os._exit(1)
    if session.standing:
        link.send(folder.encode())
    _open_log(folder, session.config.get("log_level", "info"), session.config.get("log_format", "text"))
    daemon = None
    try:
        daemon = Daemon(session, link, lifeline, remote, metadata)
        daemon.run()
    except Exception:
        logging.getLogger("shoal.daemon").exception("the daemon failed")
        if daemon is None:
            _say_failure(lifeline)
        raise
    finally:
        _kill(zygote_pid)
        remove_folders(session.folder, session.store_folder)
    sys.stdout.flush()
    os._exit(0)


def _join(folder: str) -> Session:
    from shoal.native.process.session import Session

    session = Session.read(folder)
    # Plugins may lie where only the driver looks.
    sys.path.extend(entry for entry in session.path if entry not in sys.path)
    return session


def _join_cluster(session: Session, on_wait: Callable[[str], None]) -> tuple[Session, RemoteHead]:
    """Get a number and the cluster's settings from the head. Raises SystemFailure, AuthenticationFailed."""
    import attrs

    from shoal.config import LOCAL_SETTINGS
    from shoal.native.daemon.remote_head import RemoteHead

    remote = RemoteHead(
        session.head_address,
        session.token,
        session.node_id,
        session.node_id,
        session.credentials(),
        session.links().host_of(session.head_address),
    )
    settings = remote.hello(session.config["head_wait_seconds"], on_wait)
    own = {name: session.config[name] for name in LOCAL_SETTINGS}
    config = {**session.config, **settings["config"], **own}
    session = attrs.evolve(session, number=remote.number, config=config, namespace=settings["namespace"])
    session.write_settings()
    return session, remote


def _open_log(folder: str, level: str, log_format: str) -> None:
    from logging.handlers import RotatingFileHandler

    from shoal.observe.logformat import log_formatter

    path = os.path.join(folder, "logs", "daemon.log")
    handler = RotatingFileHandler(path, maxBytes=16 * 2**20, backupCount=2, delay=True)
    handler.setFormatter(log_formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", log_format))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


def _say_waiting(lifeline: socket.socket, text: str) -> None:
    """Tell whoever started the node what it waits for."""
    with contextlib.suppress(OSError):
        lifeline.send(b"W" + text.encode())


def _say_failure(lifeline: socket.socket) -> None:
    """Tell the driver why the daemon did not come up."""
    import traceback

    from shoal.errors import ConfigError, ShoalError

    error = sys.exc_info()[1]
    # What only shows to be wrong here (a metadata store or a head that is not there) needs no traceback.
    said = str(error) if isinstance(error, ShoalError) else traceback.format_exc()
    word = (b"C" if isinstance(error, ConfigError) else b"F") + said.encode()
    try:
        lifeline.send(word[:1] + word[1:][-60_000:])
    except OSError:
        return  # the driver is gone


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


if __name__ == "__main__":
    main()
