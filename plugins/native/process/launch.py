"""Starting a session of one's own: folders, settings, the daemon's process; and undoing all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from typing import Any

import msgspec

from shoal.config import Config
from shoal.errors import ConfigError, SystemFailure
from shoal.native.process.environments import check_environment
from shoal.native.process.session import Session, remove_folders
from shoal.native.process.store import import_target
from shoal.registry.discover import find
from shoal.registry.drivers import load_driver
from shoal.registry.groups import ACCELERATORS, HOOKS, METADATA, SCHEDULERS, STORES

_DAEMON_END_SECONDS = 5.0


class DaemonProcess:
    """The daemon that this process has started. `lifeline` ends it when it closes, however that comes about."""

    def __init__(self, pid: int, lifeline: socket.socket, folder: str, store_folder: str) -> None:
        self.pid = pid
        self._lifeline = lifeline
        self._folder = folder
        self._store_folder = store_folder
        self._ended = False

    def begin(self) -> None:
        """Tell it that the session's settings are written."""
        with contextlib.suppress(BrokenPipeError):  # it has died: wait_ready tells
            self._lifeline.send(b"B")

    def wait_ready(self, timeout: float) -> dict[str, str]:
        """Return the node's labels when it serves. Raises SystemFailure with its own words if it does not come up."""
        self._lifeline.settimeout(timeout)
        try:
            word = self._lifeline.recv(1 << 16)
        except TimeoutError:
            word = b""
        if word[:1] == b"R":
            labels: dict[str, str] = msgspec.msgpack.decode(word[1:])
            return labels
        self.end()
        text = word[1:].decode("utf-8", "replace") if word[:1] == b"F" else ""
        logs = os.path.join(self._folder, "logs")
        raise SystemFailure(
            f"the session's daemon did not come up within {timeout:g} s (logs: {logs})\n{text}"
        )

    def end(self) -> None:
        """End it and everything below it; nothing is left when this returns."""
        if self._ended:
            return
        self._ended = True
        self._lifeline.close()
        deadline = time.monotonic() + _DAEMON_END_SECONDS
        while time.monotonic() < deadline:
            if self._reap():
                break
            time.sleep(0.002)
        else:
            self._kill()
        remove_folders(self._folder, self._store_folder)

    def _reap(self) -> bool:
        try:
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        return pid != 0

    def _kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return


def prepare_session(config: Config, worker_id: bytes, name: str, folder: str, store_folder: str) -> Session:
    """Look up and check a session's plugins, and write its settings. Raises ConfigError, SystemFailure."""
    store = load_driver(STORES, config.store, config.store_options)
    if not store.shared:
        raise ConfigError(
            f"store={config.store!r} keeps objects in one process; the native engine needs one that processes share, "
            "e.g. 'spill' or 'shm'"
        )
    targets: dict[str, str] = {
        "store": _target(store),
        "scheduler": _target(load_driver(SCHEDULERS, config.scheduler, config.scheduler_options)),
        "metadata": _target(load_driver(METADATA, config.metadata, config.metadata_options)),
    }
    for accelerator in config.accelerators:
        targets[f"accelerator:{accelerator}"] = _target(load_driver(ACCELERATORS, accelerator))
    import_target(targets["scheduler"])(
        config.scheduler_options
    )  # refuses its options here, not in the daemon
    environment = check_environment(config.runtime_env)
    wire: dict[str, Any] = config.to_wire()
    session = Session(
        name=name,
        folder=folder,
        token=os.urandom(32),
        node_id=os.urandom(8),
        job_id=(1).to_bytes(4, "big"),
        store_folder=store_folder,
        namespace=config.namespace or os.urandom(8).hex(),
        driver=worker_id,
        driver_pid=os.getpid(),
        path=tuple(_absolute_path()),
        main_folder=os.getcwd(),
        config=wire,
        targets=targets,
        observed=bool(find(HOOKS)),
        store_bytes=_store_bytes(config),
        spill_folder=_spill_folder(config, folder, name),
        environment=environment,
    )
    session.write()
    return session


def _target(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _absolute_path() -> list[str]:
    """Return sys.path as other processes can use it: "" means where this program runs."""
    return [os.path.abspath(entry) if entry else os.getcwd() for entry in sys.path]


def _spill_folder(config: Config, folder: str, name: str) -> str:
    if config.spill_dir is None:
        return os.path.join(folder, "spill")
    path = os.path.join(config.spill_dir, name)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def _store_bytes(config: Config) -> int:
    if config.object_store_bytes is not None:
        return config.object_store_bytes
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    room = memory
    if os.path.isdir("/dev/shm"):
        status = os.statvfs("/dev/shm")
        room = int(status.f_bavail * status.f_frsize * 0.95)
    return max(1 << 26, min(int(memory * 0.3), room))


def start_daemon(folder: str, store_folder: str) -> DaemonProcess:
    """Start the daemon's process in a session of its own, so that a Ctrl-C at the terminal is not for it."""
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    command = [
        sys.executable,
        "-P" if sys.version_info >= (3, 11) else "-u",
        "-m",
        "shoal.native.daemon.main",
        folder,
        str(theirs.fileno()),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(
        os.path.join(folder, "logs", "daemon.err"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    try:
        pid = os.posix_spawn(
            sys.executable,
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, errors, 1),
                (os.POSIX_SPAWN_DUP2, errors, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(null)
        os.close(errors)
        theirs.close()
    return DaemonProcess(pid, ours, folder, store_folder)
