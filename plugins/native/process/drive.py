"""A driver's part in the session that it begins."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from shoal.config import Config
from shoal.errors import ShoalError
from shoal.interfaces.engine import Engine
from shoal.interfaces.store import ObjectStore
from shoal.native.client.client import Client
from shoal.native.client.log_printer import LogPrinter
from shoal.native.client.observing import Observing, installed_listeners
from shoal.native.process.launch import prepare_session
from shoal.native.process.session import Session
from shoal.native.process.spawn import DaemonProcess
from shoal.native.process.store import open_store
from shoal.native.process.sweep import sweep_old_sessions
from shoal.native.wire import kinds
from shoal.native.wire.nodes import driver_id
from shoal.spec.events import SessionStarted

_C = TypeVar("_C", bound=Client)
_E = TypeVar("_E", bound=Engine)

_BEGIN_SECONDS = 2.0
_LAST_WORDS_SECONDS = 2.0  # how long the end of a session may wait for what workers have printed


def drive(
    config: Config, daemon: DaemonProcess, make_engine: Callable[[Client, None, DaemonProcess | None], _E]
) -> _E:
    """Prepare the session of a daemon that was just started, and return its driver's engine; see Engine.start."""
    worker_id = driver_id(1)
    try:
        session = prepare_session(config, worker_id, daemon.name, daemon.folder, daemon.store_folder)
        daemon.begin()
        store = open_store(session, worker_id.hex())
        labels = daemon.wait_ready(config.worker_start_timeout_seconds)
        engine = attach_driver(session, config, worker_id, store, labels, daemon, make_engine)
    except BaseException:
        daemon.end()
        raise
    threading.Thread(
        target=sweep_old_sessions, args=(config.temp_dir,), name="shoal-sweep", daemon=True
    ).start()
    return engine


def attach_driver(
    session: Session,
    config: Config,
    worker_id: bytes,
    store: ObjectStore,
    labels: dict[str, str],
    daemon: DaemonProcess | None,
    make_engine: Callable[[Client, None, DaemonProcess | None], _E],
) -> _E:
    """Make this process a driver of a session that serves. `daemon` is to end with it; None: others need it."""
    client = Client(session, config, worker_id, store)
    return begin_driver(client, labels, daemon, make_engine, os.getpid())


def begin_driver(
    client: _C,
    labels: dict[str, str],
    daemon: DaemonProcess | None,
    make_engine: Callable[[_C, None, DaemonProcess | None], _E],
    pid: int,
) -> _E:
    """Make a client that is connected a driver: `pid` is the process on the node that the daemon knows it by.

    The client is closed if that fails.
    """
    session, config = client.session, client.config
    try:
        client.job_environment = session.environment
        client.node_labels = labels
        engine = make_engine(client, None, daemon)
        client.engine = engine
        client.observing = Observing(client, installed_listeners())
        if config.log_to_driver:
            printer = LogPrinter(client.reactor)
            client.on_log_lines = printer.on_lines  # type: ignore[method-assign]
            client.finish_logs = lambda: _finish_logs(client, printer)
        client.handle_daemon(kinds.WARNING, lambda message: client.warn(message[1]))
        if daemon is not None:
            client.on_daemon_lost = lambda: client.reactor.call_soon_unlocked(daemon.end)
        with client.reactor.lock:
            client.tell_daemon([kinds.REGISTER, {"pid": pid, "kind": "driver"}])
            facts = {"pid": pid, "entrypoint": " ".join(sys.argv), "namespace": session.namespace}
            # Before anything that the job asks for: the head must know its quota first.
            begun: list[bool] = []
            client.request_later(
                "begin_job", [client.job().to_wire(), facts], lambda ok, value: begun.append(ok)
            )
            client.reactor.flush()
        _shield_from_interrupts(client)
        client.reactor.start_background("shoal-io")
        if (
            session.standing
        ):  # others can see the job when init() returns, unless the head is away for the moment
            client.reactor.run_until(lambda: bool(begun), time.monotonic() + _BEGIN_SECONDS)
        client.observing.listeners.emit(
            "shoal_session_started",
            SessionStarted(session=session.name, engine="native", node=session.node_id.hex()),
        )
    except BaseException:
        client.close()
        raise
    return engine


def finish_job(client: Client) -> None:
    """Say goodbye: the job has ended as its program wished."""
    with contextlib.suppress(ShoalError, OSError), client.reactor.lock:
        client.check_usable()
        client.request_later("end_job", [client.session.job_id], lambda ok, value: None)
        client.reactor.flush()


def _finish_logs(client: Client, printer: LogPrinter) -> None:
    """Show what workers have printed up to now: a short program ends before it has arrived."""
    with contextlib.suppress(ShoalError):
        client.request("drain_logs", timeout=_LAST_WORDS_SECONDS)
    printer.finish()


def _shield_from_interrupts(client: Client) -> None:
    """Let Ctrl-C raise KeyboardInterrupt between our steps, never in the middle of one.

    Only Python's own handler is replaced; a program that handles SIGINT itself is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    reactor = client.reactor
    main = threading.get_ident()

    def again() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        if not client.closed and reactor.lock._is_owned():  # type: ignore[attr-defined]
            reactor.call_later(0.005, again)
            return
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handle)
