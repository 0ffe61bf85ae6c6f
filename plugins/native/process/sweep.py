"""Removing what sessions left whose driver and daemon were both killed, or whose machine crashed."""

from __future__ import annotations

import os
import shutil
import socket
import time

from shoal.native.process.folders import remove_folders, sessions_folder, shared_folder

_YOUNG_SECONDS = 60.0  # a session this young may still be starting
_LOGS_SECONDS = 7 * 24 * 3600.0
_LOGS_KEPT = 20


def sweep_old_sessions(temp_dir: str | None) -> None:
    """Remove dead sessions of this user, their shared memory, and logs that are old or too many."""
    parent = sessions_folder(temp_dir)
    shared, prefix = shared_folder(parent)
    living = set()
    finished = []
    for name in sorted(os.listdir(parent)):
        folder = os.path.join(parent, name)
        if not name.startswith("session_"):
            continue
        if _is_alive(folder):
            living.add(name)
            continue
        remove_folders(folder, os.path.join(shared, prefix + name))
        if os.path.isdir(folder):
            finished.append(folder)
    for name in os.listdir(shared):
        if name.startswith(prefix) and name[len(prefix) :] not in living:
            path = os.path.join(shared, name)
            if _age(path) > _YOUNG_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
    for index, folder in enumerate(reversed(finished)):
        if index >= _LOGS_KEPT or _age(folder) > _LOGS_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _age(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _is_alive(folder: str) -> bool:
    """Tell whether a session's daemon answers, or may yet."""
    path = os.path.join(folder, "s", "0" * 16)
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1)
    try:
        probe.connect(path)
    except FileNotFoundError:
        return _age(folder) < _YOUNG_SECONDS  # it has no socket yet, or any more
    except ConnectionRefusedError:  # the socket of a process that was killed
        return False
    except OSError:  # too busy to answer is not dead
        return True
    finally:
        probe.close()
    return True
