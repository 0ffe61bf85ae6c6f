"""What can be seen of this machine's sessions from outside: their folders, sockets and processes. Nothing is asked.

So it works while a session is too busy to answer. Who listens at a socket is what the kernel says (SO_PEERCRED), so no
file has to be believed about who is who.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import attrs

from shoal.native.process import page
from shoal.native.process.folders import sessions_folder

_DAEMON = "0" * 16
_SECONDS = 1.0


@attrs.frozen(kw_only=True)
class SeenProcess:
    """One process of a session."""

    role: str  # "driver", "daemon", "zygote" or "worker"; "child" is what one of them has started
    pid: int
    worker: str = ""  # identifier of a driver or worker
    doing: str = ""  # the task that a worker has started last
    memory_bytes: int = 0  # its own memory and its share of what it shares


@attrs.frozen(kw_only=True)
class SeenSession:
    """A session that lives."""

    name: str
    folder: str
    driver_pid: int  # 0 for a node of a cluster, which goes on without one
    program: str  # the driver's command, or what the node is
    since: float  # seconds since 1970
    objects_bytes: int  # in shared memory
    processes: tuple[SeenProcess, ...]

    @property
    def memory_bytes(self) -> int:
        """Memory of its processes without the drivers', which would be there anyway."""
        return sum(one.memory_bytes for one in self.processes if one.role != "driver")


def live_sessions(temp_dir: str | None) -> list[SeenSession]:
    """Return this user's sessions whose daemon listens, the oldest first.

    Raises SystemFailure if the folder of sessions is not private.
    """
    seen = (_see(folder) for folder in session_folders(temp_dir))
    return sorted((one for one in seen if one is not None), key=lambda one: (one.since, one.name))


def session_folders(temp_dir: str | None) -> list[str]:
    """Return the folders of sessions, living and dead, the oldest first."""
    parent = sessions_folder(temp_dir)
    names = sorted(name for name in os.listdir(parent) if name.startswith("session_"))
    return [os.path.join(parent, name) for name in names]


def is_live(folder: str) -> bool:
    """Tell whether a session's daemon listens."""
    return _listener(os.path.join(folder, "s", _DAEMON)) is not None


def _see(folder: str) -> SeenSession | None:
    import msgspec  # here, since `shoal --help` imports this module too

    daemon = _listener(os.path.join(folder, "s", _DAEMON))
    if daemon is None:
        return None
    try:
        with open(os.path.join(folder, "settings"), "rb") as file:
            settings = msgspec.msgpack.decode(file.read())
        since = os.stat(os.path.join(folder, "token")).st_mtime  # which is never written again
    except (OSError, msgspec.DecodeError):  # it ends just now, or is of another version
        return None
    # A node of a cluster goes on when whoever started it has ended, so that process says nothing about it.
    driver_pid = 0 if settings["standing"] else settings["driver_pid"]
    return SeenSession(
        name=settings["name"],
        folder=folder,
        driver_pid=driver_pid,
        program=_program(driver_pid) if driver_pid else _node(folder),
        since=since,
        objects_bytes=_bytes_below(settings["store_folder"]),
        processes=tuple(_processes(folder, daemon)),
    )


def _processes(folder: str, daemon: int) -> Iterator[SeenProcess]:
    children = _children()
    workers = dict(_listeners(folder))
    # Workers are below the zygote; whoever else listens here is a driver, or the gateway of one elsewhere.
    below = children.get(daemon, [])
    zygotes = [pid for pid in below if pid not in workers]
    working = {pid for zygote in zygotes for pid in _below(zygote, children)}
    for pid in sorted(workers.keys() - working):
        yield SeenProcess(role="driver", pid=pid, worker=workers[pid], memory_bytes=_memory(pid))
    yield SeenProcess(role="daemon", pid=daemon, memory_bytes=_memory(daemon))
    for zygote in zygotes:
        yield SeenProcess(role="zygote", pid=zygote, memory_bytes=_memory(zygote))
        for pid in _below(zygote, children):
            worker = workers.get(pid, "")
            yield SeenProcess(
                role="worker" if worker else "child",
                pid=pid,
                worker=worker,
                doing=page.read(page.path_of(folder, bytes.fromhex(worker)))[1] if worker else "",
                memory_bytes=_memory(pid),
            )


def _below(pid: int, children: dict[int, list[int]]) -> Iterator[int]:
    for child in children.get(pid, []):
        yield child
        yield from _below(child, children)


def _listeners(folder: str) -> Iterator[tuple[int, str]]:
    """Yield the process and the identifier of each driver and worker."""
    try:
        names = sorted(os.listdir(os.path.join(folder, "s")))
    except OSError:
        return
    for name in names:
        if len(name) == len(_DAEMON) and name != _DAEMON:  # others are sockets for other uses
            pid = _listener(os.path.join(folder, "s", name))
            if pid is not None:
                yield pid, name


def _listener(path: str) -> int | None:
    """Return the process that listens at a socket, None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SECONDS)
        try:
            probe.connect(path)
        except OSError:
            return None
        found = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", found)[0]
    return pid or None  # 0 is a process of another namespace


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):  # it has ended
            continue
        found.setdefault(parent, []).append(int(name))
    return {parent: sorted(pids) for parent, pids in found.items()}


def _memory(pid: int) -> int:
    """Return a process's memory, of what it shares with others only its part; 0 if it has ended or is not ours."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _node(folder: str) -> str:
    from shoal.native.process.node import read_node  # which loads much that no other verb needs

    info = read_node(folder)
    return "" if info is None else f"{'head' if info.is_head else 'node'} of {info.head_address}"


def _program(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _bytes_below(folder: str) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_blocks * 512
            except OSError:  # it was freed meanwhile
                continue
    return total
