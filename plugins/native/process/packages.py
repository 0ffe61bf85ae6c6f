"""Files of runtime environments in a cluster: the node of whoever asked for them keeps them, others fetch them.

In an environment a package is then `{"uri": "node://NUMBER/SHA256", "hash": SHA256}`, with the number of a node that
has it in its session's folder, under its hash.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

_URI = re.compile(r"node://([0-9]+)/([0-9a-f]{64})")
_KEYS = {"uri", "hash"}
_HASH = re.compile(r"[0-9a-f]{64}")


def packages_folder(folder: str) -> str:
    """Return where the packages of a node are, below its session's folder."""
    return os.path.join(folder, "env", "packages")


def package_path(folder: str, digest: str) -> str:
    """Return where a package is, or is to be, in a session's folder. Raises ValueError for what is no SHA-256."""
    if not _HASH.fullmatch(digest):
        raise ValueError(f"a package is named by its SHA-256, not {digest!r}")
    return os.path.join(packages_folder(folder), f"{digest}.zip")


def node_uri(number: int, digest: str) -> str:
    """Return how an environment names a package that a node has."""
    return f"node://{number}/{digest}"


def node_of(uri: str) -> int | None:
    """Return the number of the node that a package is named to be on, None for a file's path."""
    found = _URI.fullmatch(uri)
    return int(found[1]) if found else None


def publish(environment: Mapping[str, Any], folder: str, number: int) -> dict[str, Any]:
    """Have this node keep what an environment's packages are; return the environment that other nodes can use too.

    `folder` is that of the node's session. Raises OSError.
    """

    def keep(uri: str, digest: str) -> str:
        if node_of(uri) is None:
            path = package_path(folder, digest)
            if not os.path.exists(path):
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                new = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.new"
                shutil.copyfile(uri, new)
                os.rename(new, path)
            uri = node_uri(number, digest)
        return uri

    return replace_uris(environment, keep)


def has_packages(environment: Mapping[str, Any]) -> bool:
    """Tell whether an environment needs packages of some node."""
    found = False

    def look(uri: str, digest: str) -> str:
        nonlocal found
        found = found or node_of(uri) is not None
        return uri

    replace_uris(environment, look)
    return found


def replace_uris(environment: Mapping[str, Any], replace: Callable[[str, str], str]) -> dict[str, Any]:
    """Return an environment in which every package's uri is what `replace(uri, hash)` returns."""
    return {name: _replaced(value, replace) for name, value in environment.items()}


def _replaced(value: Any, replace: Callable[[str, str], str]) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == _KEYS:
            return {"uri": replace(value["uri"], value["hash"]), "hash": value["hash"]}
        return {name: _replaced(each, replace) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(each, replace) for each in value]
    return value
