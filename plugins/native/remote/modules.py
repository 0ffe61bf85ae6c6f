"""Modules that only the client has: what they define travels by value, since no worker could import it."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.native.remote.tunnel import Tunnel

_INSTALLED = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep
    for name in ("purelib", "platlib", "stdlib", "platstdlib")
)
_NEVER = frozenset({"__main__", "__mp_main__", "shoal"})  # cloudpickle takes the first two by value by itself


class ClientModules:
    """Looks at what has been imported since the last look, and asks the cluster which of that it could import.

    Installed packages are not asked for: the cluster needs the same ones. Nor is what `shipped` holds: files and
    folders that go there as runtime_env.
    """

    def __init__(self, tunnel: Tunnel, shipped: Iterable[str]) -> None:
        self._tunnel = tunnel
        self._shipped = tuple(os.path.realpath(path) for path in shipped)
        self._count = 0
        self._lock = threading.Lock()
        self._asking = 0  # the thread that waits for an answer; others must not pickle before it is there
        self._known: set[str] = set()
        self.by_value: set[str] = set()

    def look(self) -> None:
        """Look again if something was imported. Takes the lock, and waits for an answer if there is a question."""
        if len(sys.modules) != self._count or self._asking:
            self._look()

    def _look(self) -> None:
        me = threading.get_ident()
        while True:
            # Nobody may wait here with a lock held: the answer comes to whichever thread serves the connections.
            with self._lock:
                if self._asking == me:
                    return  # a callback, which runs while this thread waits for the answer
                if not self._asking:
                    count = len(sys.modules)
                    names = {name.partition(".")[0] for name in list(sys.modules)} - self._known
                    asked = sorted(name for name in names if self._is_ours_alone(name))
                    self._asking = me if asked else 0
                    break
            self._tunnel.wait_for(lambda: not self._asking)
        try:
            if asked:
                self._ask(asked)
            self._known |= names
            self._count = count
        finally:
            self._asking = 0

    def _ask(self, asked: list[str]) -> None:
        there = set(self._tunnel.ask_and_wait("importable", asked))
        import cloudpickle

        for name in asked:
            if name not in there:
                cloudpickle.register_pickle_by_value(sys.modules[name])
                self.by_value.add(name)

    def _is_ours_alone(self, name: str) -> bool:
        if name in _NEVER or name in sys.stdlib_module_names:
            return False
        module = sys.modules.get(name)
        if not isinstance(module, ModuleType) or getattr(module, "__spec__", None) is None:
            return False
        file = getattr(module, "__file__", None)  # a namespace package has none
        paths: list[str] = [file] if file else list(getattr(module, "__path__", ()))
        if not paths:
            return False
        path = os.path.realpath(paths[0])
        return not path.startswith(_INSTALLED) and not any(
            path == shipped or path.startswith(shipped + os.sep) for shipped in self._shipped
        )

    def forget(self) -> None:
        """The session is over: modules are pickled as ever."""
        if not self.by_value:
            return
        import cloudpickle

        for name in self.by_value:
            module = sys.modules.get(name)
            if module is not None and name in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.unregister_pickle_by_value(module)
        self.by_value.clear()
