"""What the gateway does itself when the client asks: the node's object store, packages, modules that exist here."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs

from shoal.errors import ConfigError, ShoalError
from shoal.interfaces.store import ObjectStore
from shoal.native.process.packages import node_uri, package_path

_log = logging.getLogger("shoal.gateway")

_MOST_VIEWS = 16  # objects that are kept open between two chunks
_MOST_READ = 4 << 20
_MOST_PACKAGE = 1 << 30  # bytes


class _Package:
    """A file that is being received."""

    def __init__(self, path: str, digest: str, size: int) -> None:
        self.path = path
        self.name = digest
        self.size = size
        self.digest = hashlib.sha256()
        self.file = open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        self.written = 0

    def drop(self) -> None:
        self.file.close()
        os.unlink(self.path)


class Services:
    """Answers by name. Nothing here is a pickle: arguments and answers are plain data."""

    def __init__(self, store: ObjectStore, folder: str, number: int) -> None:
        """`folder` is the session's, `number` the node's."""
        self._number = number
        self._store = store
        self._folder = folder
        self._made: dict[bytes, memoryview] = {}
        self._views: OrderedDict[bytes, memoryview] = OrderedDict()
        self._packages: dict[int, _Package] = {}
        self._methods: dict[str, Callable[..., Any]] = {
            "abort": self._abort,
            "create": self._create,
            "delete": self._delete,
            "find": self._find,
            "ids": store.ids,
            "importable": self._importable,
            "package": self._package,
            "package_end": self._package_end,
            "package_part": self._package_part,
            "read": self._read,
            "relieve": self._relieve,
            "seal": self._seal,
            "statistics": lambda: attrs.asdict(store.statistics()),
            "sweep": store.sweep,
            "write": self._write,
        }

    def answer(self, name: str, arguments: list[Any]) -> tuple[str, Any]:
        """Return ("", value), or the name of an error and what it says."""
        method = self._methods.get(name)
        if method is None:
            return "ValueError", f"the gateway knows no question {name!r}: is it of another version of Shoal?"
        try:
            return "", method(*arguments)
        except Exception as error:  # whatever a client asks, and a store of a stranger's raises, is an answer
            if not isinstance(error, (ShoalError, ValueError, KeyError, TypeError, OSError)):
                _log.exception("the question %r failed", name)
            return type(error).__name__, str(error)

    # Objects

    def _create(self, object_id: bytes, size: int) -> None:
        self._made[object_id] = self._store.create(object_id, size)

    def _write(self, object_id: bytes, start: int, data: bytes) -> None:
        view = self._made[object_id]
        if not 0 <= start <= start + len(data) <= len(view):
            raise ValueError(f"bytes {start} to {start + len(data)} of an object of {len(view)}")
        view[start : start + len(data)] = data

    def _seal(self, object_id: bytes) -> None:
        self._made.pop(object_id).release()
        self._store.seal(object_id)

    def _abort(self, object_id: bytes) -> None:
        view = self._made.pop(object_id, None)
        if view is not None:
            view.release()
            self._store.abort(object_id)

    def _open(self, object_id: bytes) -> memoryview | None:
        view = self._views.get(object_id)
        if view is None:
            view = self._store.get(object_id)
            if view is not None:
                self._views[object_id] = view
                if len(self._views) > _MOST_VIEWS:
                    self._views.popitem(last=False)
        return view

    def _find(self, object_id: bytes) -> int:
        view = self._open(object_id)
        return -1 if view is None else len(view)

    def _read(self, object_id: bytes, start: int, count: int) -> bytes | None:
        view = self._open(object_id)
        if view is None:
            return None
        if not 0 <= start <= len(view) or not 0 <= count <= _MOST_READ:
            raise ValueError(f"{count} bytes from {start} on of an object of {len(view)}")
        data = bytes(view[start : start + count])
        if start + count >= len(view):
            self._views.pop(object_id, None)
        return data

    def _delete(self, object_id: bytes) -> None:
        self._views.pop(object_id, None)
        self._store.delete(object_id)

    def _relieve(self, size: int) -> None:
        relieve = getattr(self._store, "relieve", None)
        if relieve is not None:
            relieve(size)

    # Modules

    def _importable(self, names: list[str]) -> list[str]:
        """Return which of these top-level modules exist here."""
        return [name for name in names if "." not in name and _exists(name)]

    # Packages

    def _package(self, number: int, digest: str, size: int) -> str:
        """Return how a package that is here is named in environments; "" if it is to be sent."""
        path = package_path(self._folder, digest)
        if os.path.exists(path):
            return node_uri(self._number, digest)
        if not 0 <= size <= _MOST_PACKAGE:
            raise ConfigError(f"a package of {size:,} bytes; at most {_MOST_PACKAGE:,} are taken")
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._packages[number] = _Package(f"{path}.{os.getpid()}.{number}.new", digest, size)
        return ""

    def _package_part(self, number: int, data: bytes) -> None:
        package = self._packages[number]
        package.written += len(data)
        if package.written > package.size:
            self._packages.pop(number).drop()
            raise ConfigError(
                f"the package {package.name} has more than the {package.size:,} bytes that were announced"
            )
        package.file.write(data)
        package.digest.update(data)

    def _package_end(self, number: int) -> str:
        package = self._packages.pop(number)
        found = package.digest.hexdigest()
        if found != package.name:
            package.drop()
            raise ConfigError(f"the package {package.name} has arrived as {found}")
        package.file.close()
        os.rename(package.path, package_path(self._folder, package.name))
        return node_uri(self._number, package.name)

    def close(self) -> None:
        """Let go of what is open; what was not sealed goes."""
        for package in self._packages.values():
            package.drop()
        self._packages.clear()
        self._views.clear()
        for object_id in list(self._made):
            self._abort(object_id)


def _exists(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False
