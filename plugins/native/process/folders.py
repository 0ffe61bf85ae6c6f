"""Where sessions lie: making their folders and removing them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator

from shoal.errors import ConfigError, SystemFailure
from shoal.observe.eventlog import FOLDER

NODE_FILE = "node.json"  # in the folder of a cluster's node: what it is
_REMOVE_SECONDS = 5.0
_KEPT = ("logs", FOLDER)
_FOLDERS = ("s", "p", "logs", "env", "spill")


def sessions_folder(temp_dir: str | None) -> str:
    """Return the folder of session folders, made private to this user. Raises SystemFailure if it is not."""
    folder = temp_dir or os.path.join(tempfile.gettempdir(), f"shoal-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    status = os.stat(folder)
    if temp_dir is None and (status.st_uid != os.getuid() or status.st_mode & 0o077):
        raise SystemFailure(f"{folder} must belong to you and have mode 0700; remove it or set temp_dir")
    return folder


def shared_folder(parent: str) -> tuple[str, str]:
    """Return where the shared memory of the sessions in a folder is, and how its names begin.

    Sessions of another folder (`temp_dir`) begin otherwise: whether those live cannot be seen from this one.
    """
    root = "/dev/shm" if os.path.isdir("/dev/shm") else parent
    digest = zlib.crc32(os.fsencode(os.path.realpath(parent)))
    return root, f"shoal-{os.getuid()}-{digest:08x}-"


@contextlib.contextmanager
def explained(what: str, folder: str) -> Iterator[None]:
    """Turn what the system says of a folder that cannot be used into a ConfigError that says what to do."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{what} {folder} cannot be written: {error.strerror}. Make room there, or choose another folder by "
            "temp_dir (--temp-dir)"
        ) from error


def make_folders(temp_dir: str | None) -> tuple[str, str, str]:
    """Make the folders of a new session; return (name, folder, store folder).

    Raises ConfigError if they cannot be made.
    """
    with explained("the folder of sessions", temp_dir or tempfile.gettempdir()):
        return _make_folders(sessions_folder(temp_dir))


def _make_folders(parent: str) -> tuple[str, str, str]:
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    name = f"session_{stamp}_{os.getpid()}_{os.urandom(2).hex()}"
    folder = os.path.join(parent, name)
    if len(os.path.join(folder, "s", "0" * 16)) > 100:
        raise SystemFailure(
            f"the path of {parent} is too long for Unix sockets; set temp_dir to a shorter one"
        )
    root, prefix = shared_folder(parent)
    store_folder = os.path.join(root, prefix + name)
    os.mkdir(folder, 0o700)
    try:
        for inner in _FOLDERS:
            os.mkdir(os.path.join(folder, inner), 0o700)
        os.mkdir(store_folder, 0o700)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return name, folder, store_folder


def remove_folders(folder: str, store_folder: str, keep_logs: bool = True) -> None:
    """Remove what a session leaves: all of it but its logs and events."""
    remove_folder(store_folder)
    if not keep_logs:
        remove_folder(folder)
        return
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry not in _KEPT:
            path = os.path.join(folder, entry)
            if os.path.isdir(path):
                remove_folder(path)
            else:
                _unlink(path)
    try:
        if not any(_has_bytes(os.path.join(folder, name)) for name in _KEPT):
            remove_folder(folder)
    except FileNotFoundError:
        return


def _has_bytes(folder: str) -> bool:
    if not os.path.isdir(folder):
        return False
    return any(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


def remove_folder(path: str) -> None:
    """Remove a folder, also while a process that is being killed still puts files into it, within a bound."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.exists(path) or time.monotonic() >= deadline:
            return
        time.sleep(0.005)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
