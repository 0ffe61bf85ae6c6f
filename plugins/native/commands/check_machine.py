"""Checks of `shoal doctor`: what the native engine needs of a machine."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator

from shoal.config import Config
from shoal.errors import ShoalError
from shoal.interfaces.checks import BAD, GOOD, WARNING, Finding

_FEW_FILES = 4096
_LITTLE_SHM = 1 << 30
_LITTLE_DISK = 2 << 30
_LONGEST_SOCKET_PATH = 100
_SESSION_NAME = len("/session_2026-01-31_12-00-00_4194304_ffff/s/") + 16


def check(config: Config) -> Iterator[Finding]:
    """Look at the interpreter, limits of the system, and the folder of sessions."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.platform != "linux":
        yield Finding(BAD, f"the platform is {sys.platform}", "use Linux")
        return
    yield Finding(GOOD, f"Python {version} on Linux {os.uname().release}")
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < _FEW_FILES:
        cure = f"ulimit -n {min(most, 65536) if most > 0 else 65536} before the program, or LimitNOFILE= of a service"
        yield Finding(WARNING, f"a process may have {files} open files: hundreds of workers need more", cure)
    else:
        yield Finding(GOOD, f"a process may have {files} open files")
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if 0 < processes < 1024:
        cure = "raise nproc in /etc/security/limits.conf, or TasksMax= of a service"
        yield Finding(WARNING, f"this user may have {processes} processes and threads", cure)
    yield from _folder(config)
    cpus, usable = os.cpu_count() or 1, len(os.sched_getaffinity(0))
    if usable < cpus:
        yield Finding(GOOD, f"{usable} of {cpus} processors may be used")
    if config.num_cpus is not None and config.num_cpus > usable:
        yield Finding(
            WARNING, f"num_cpus is {config.num_cpus:g}, but {usable} processors may be used", "lower num_cpus"
        )


def folder_of(config: Config) -> str:
    """Return the folder of sessions, which need not be there."""
    return config.temp_dir or os.path.join(tempfile.gettempdir(), f"shoal-{os.getuid()}")


def _folder(config: Config) -> Iterator[Finding]:
    parent = folder_of(config)
    if len(parent) + _SESSION_NAME > _LONGEST_SOCKET_PATH:
        cure = "set temp_dir to a shorter path"
        yield Finding(BAD, f"the path {parent} is too long for the sockets of sessions below it", cure)
        return
    nearest = parent
    while not os.path.isdir(nearest):
        nearest = os.path.dirname(nearest) or "/"
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(BAD, f"{nearest} cannot be written", "make it writable, or set temp_dir")
        return
    if nearest == parent and config.temp_dir is None:
        status = os.stat(parent)
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
            yield Finding(BAD, f"{parent} is not private to you", f"remove {parent}, or set temp_dir")
            return
    free = shutil.disk_usage(nearest).free
    if free < _LITTLE_DISK:
        cure = "make room, or set temp_dir and spill_dir to a larger disk"
        yield Finding(
            WARNING, f"{parent} has {free >> 20} MiB left for logs, events and spilled objects", cure
        )
    else:
        yield Finding(GOOD, f"sessions are in {parent}, which has {free >> 30} GiB left")


def check_store(config: Config) -> Iterator[Finding]:
    """Look at shared memory."""
    if not os.path.isdir("/dev/shm"):
        cure = "mount a tmpfs at /dev/shm"
        yield Finding(WARNING, "there is no /dev/shm: objects go to files of the temporary folder", cure)
        return
    usage = shutil.disk_usage("/dev/shm")
    wanted = config.object_store_bytes
    if wanted is not None and wanted > usage.total:
        cure = f"lower object_store_bytes, or enlarge /dev/shm (docker run --shm-size={wanted >> 20}m)"
        yield Finding(
            BAD, f"object_store_bytes is {wanted >> 20} MiB, /dev/shm has {usage.total >> 20}", cure
        )
    elif usage.total < _LITTLE_SHM:
        cure = "enlarge /dev/shm, in a container by --shm-size=4g: objects beyond it are spilled to disk"
        yield Finding(WARNING, f"/dev/shm has {usage.total >> 20} MiB", cure)
    elif usage.free < usage.total // 10:
        cure = "look for what fills it: ls -l /dev/shm; `shoal sessions` lists living sessions"
        yield Finding(WARNING, f"/dev/shm is nearly full: {usage.free >> 20} MiB are left", cure)
    else:
        yield Finding(GOOD, f"/dev/shm has {usage.free >> 30} of {usage.total >> 30} GiB left")


def check_sessions(config: Config) -> Iterator[Finding]:
    """Look for what sessions have left."""
    from shoal.native.commands.seen import is_live, session_folders

    try:
        folders = session_folders(config.temp_dir) if os.path.isdir(folder_of(config)) else []
    except (ShoalError, OSError) as error:
        yield Finding(BAD, f"the folder of sessions cannot be read: {error}", "set temp_dir")
        return
    living = [folder for folder in folders if is_live(folder)]
    left = [
        folder for folder in folders if folder not in living and os.path.exists(os.path.join(folder, "s"))
    ]
    if left:
        names = ", ".join(os.path.basename(folder) for folder in left[:3])
        cure = "nothing: the next session that starts removes them"
        yield Finding(WARNING, f"{len(left)} sessions were killed and have left files: {names}", cure)
    else:
        yield Finding(
            GOOD, f"{len(living)} sessions live, and the dead have left nothing but logs and events"
        )
