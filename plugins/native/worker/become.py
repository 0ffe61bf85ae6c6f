"""A worker that is another program than the zygote: with an interpreter of its own, or in a container.

The forked process becomes the program that the environment names, which runs `boot.py`. What the worker is to be lies
in a file of the session's folder, since a command between the two may pass nothing on but its arguments.
"""

from __future__ import annotations

import os
import re
import site
import sys
from typing import Any, NoReturn

import msgspec

from shoal.native.process.session import Session
from shoal.native.security.private import write_private

_BOOT = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "boot.py"
)  # by its path: it imports nothing of us
_PLACEHOLDER = re.compile(r"\{(path|variable)\}")


def become(session: Session, request: dict[str, Any], folder: str) -> NoReturn:
    """Replace this process by the worker's program. Raises OSError if there is no such program."""
    target = os.path.join(session.folder, "p", f"{request['worker'].hex()}.request")
    write_private(target, msgspec.msgpack.encode({**request, "command": []}))
    places = [session.folder, session.store_folder, folder, *request["path"], *session.path, *_sites()]
    values = {
        "path": list(dict.fromkeys(place for place in places if place and os.path.exists(place))),
        "variable": sorted(request["variables"]),
    }
    command = expanded(request["command"], values)
    words = [*command, _BOOT, session.folder, target, *_sites()]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(words[0], words)


def expanded(command: list[str], values: dict[str, list[str]]) -> list[str]:
    """Return a command with each item that has a placeholder repeated for each of its values.

    Example: `expanded(["run", "-v={path}"], {"path": ["/a", "/b"]})` is `["run", "-v=/a", "-v=/b"]`.
    """
    words: list[str] = []
    for item in command:
        found = _PLACEHOLDER.search(item)
        if found is None:
            words.append(item)
        else:
            words.extend(item.replace(found[0], value) for value in values[found[1]])
    return words


def _sites() -> list[str]:
    """Return the folders of this interpreter's packages, where Shoal and what it needs are found."""
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [folder for folder in folders if os.path.isdir(folder)]
