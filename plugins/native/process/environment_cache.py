"""Environments that were built on this node: each once, used by any number of sessions, the oldest removed.

    <folder>/KEY.lock        shared while somebody uses it or looks, exclusive while it is made or removed
    <folder>/KEY.json        what was made, where, and how large it is: there once it is whole
    <folder>/KEY-RANDOM/     what was made

Locks are the kernel's and go with the processes that hold them, so they count the users of an environment, those that
were killed too. A folder without a marker is nobody's: whoever made it died, and it is never used. Folders are not
renamed, since what installers write has the folder's name in it; the marker is, once its bytes are on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import site
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import attrs

from shoal.errors import ConfigError
from shoal.interfaces.environment import WorkerChanges, seconds_left

_LOOK_SECONDS = 0.1


class Hold:
    """The use of an environment: it is not removed before `close`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Use it no more. A second close does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class EnvironmentCache:
    """The environments in one folder, with room for `limit` bytes beside those that are in use."""

    def __init__(self, folder: str | None, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    @property
    def folder(self) -> str:
        """The folder, made private to this user. Raises ConfigError if it is somebody else's."""
        folder = self._folder or os.path.join(tempfile.gettempdir(), f"shoal-environments-{os.getuid()}")
        with contextlib.suppress(FileExistsError):
            os.makedirs(folder, 0o700)
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise ConfigError(
                f"{folder} must be a folder that only user {os.getuid()} can write to; remove it or set "
                "environment_cache_dir"
            )
        return folder

    def obtain(
        self, step: str, value: Any, build: Callable[[str], WorkerChanges]
    ) -> tuple[WorkerChanges, Hold]:
        """Return what a step makes of a value, made now by `build(folder)` if it is not here.

        Waits while another process makes it. Raises what `build` raises, and RuntimeEnvSetup when time is over.
        """
        folder = self.folder
        name = os.path.join(folder, _key(step, value))
        while True:
            descriptor = _open_lock(name + ".lock")
            try:
                if _try_lock(descriptor, fcntl.LOCK_SH):
                    changes = _read(name + ".json")
                    if changes is not None:
                        os.utime(name + ".json")
                        hold, descriptor = Hold(descriptor), -1
                        return changes, hold
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                    if _try_lock(descriptor, fcntl.LOCK_EX) and _read(name + ".json") is None:
                        self._make(name, step, build)
                        continue  # as its user: the kernel does not turn one kind of lock into the other in one step
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            time.sleep(min(_LOOK_SECONDS, seconds_left()))

    def _make(self, name: str, step: str, build: Callable[[str], WorkerChanges]) -> None:
        _remove_folders(name)
        folder = f"{name}-{os.urandom(4).hex()}"
        os.mkdir(folder, 0o700)
        try:
            changes = build(folder)
            marker = {"step": step, "folder": folder, "size": _size(folder), "changes": attrs.asdict(changes)}
            new = name + ".new"
            with open(new, "w", encoding="utf-8") as file:
                json.dump(marker, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(new, name + ".json")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.trim(keep=name + ".json")

    def trim(self, keep: str = "") -> None:
        """Remove environments that nobody uses, those unused for longest first, while all are too large."""
        markers = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith(".json"):
                with contextlib.suppress(FileNotFoundError):
                    markers.append((entry.stat().st_mtime, entry.path, _marked_size(entry.path)))
        total = sum(size for _, _, size in markers)
        for _, marker, size in sorted(markers):
            if total <= self._limit:
                return
            if marker != keep and self._remove(marker.removesuffix(".json")):
                total -= size

    def _remove(self, name: str) -> bool:
        descriptor = _open_lock(name + ".lock")
        try:
            if not _try_lock(descriptor, fcntl.LOCK_EX):
                return False
            for path in (name + ".json", name + ".lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            _remove_folders(name)
        finally:
            os.close(descriptor)
        return True


def _key(step: str, value: Any) -> str:
    # Another interpreter makes another environment, and so does one with other packages beside it: it shows them.
    facts = [step, value, sys.version, os.path.realpath(sys.executable), site.getsitepackages()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _open_lock(path: str) -> int:
    """Open a lock's file; one that was removed in the same moment locks nothing, so it is opened again."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0  # not removed between opening and locking


def _read(path: str) -> WorkerChanges | None:
    try:
        with open(path, encoding="utf-8") as file:
            marker = json.load(file)
    except (FileNotFoundError, ValueError):
        return None
    if not os.path.isdir(marker["folder"]):
        return None  # somebody has cleaned up by hand
    return WorkerChanges(**marker["changes"])


def _marked_size(path: str) -> int:
    try:
        with open(path, encoding="utf-8") as file:
            return int(json.load(file)["size"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0


def _remove_folders(name: str) -> None:
    folder, key = os.path.split(name)
    for entry in os.listdir(folder):
        if entry.startswith(key + "-"):
            shutil.rmtree(os.path.join(folder, entry), ignore_errors=True)


def _size(folder: str) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, file)).st_size
    return total
