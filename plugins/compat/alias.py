"""Putting the alias in place, for this process and for the workers of its sessions, and taking it away."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import types
from collections.abc import Iterator

from shoal.compat.environ import Change, translate
from shoal.compat.finder import AliasFinder
from shoal.compat.table import ROOT

READY = "shoal.compat.ready"  # imported by each session before it forks workers
PRELOAD = "SHOAL_WORKER_PRELOAD"


def load_alias(fullname: str) -> types.ModuleType:
    """Return an alias module where a function that uses it is loaded, also on a node that began without the alias.

    Raises ModuleNotFoundError.
    """
    install()
    return importlib.import_module(fullname)


class _Alias:
    """What is in place in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.finder = AliasFinder(load_alias)
        self.outside: dict[
            str, types.ModuleType
        ] = {}  # modules of a real installation that were loaded before
        self.changes: list[Change] = []


_alias = _Alias()


def install() -> None:
    """Make `import ray` mean Shoal, here and in the workers of sessions that begin from now on. Again does nothing.

    Variables named RAY_… are translated to ours where they mean something, unless ours are set. An installed Ray is not
    touched: it can be imported again after `uninstall()`, or inside `suspended()`.

    Example:
        shoal.compat.install()
        import ray
        ray.init(num_cpus=2)
    """
    with _alias.lock:
        if installed():
            return
        _alias.outside = _take_modules()
        sys.meta_path.insert(0, _alias.finder)
        _alias.changes = [*translate(os.environ), _preload()]
        for change in _alias.changes:
            change.make(os.environ)


def uninstall() -> None:
    """Undo `install()`: `ray` is again what it was before, also for modules that were loaded. Again does nothing.

    References that a program has to our modules go on working.
    """
    with _alias.lock:
        if not installed():
            return
        sys.meta_path.remove(_alias.finder)
        _take_modules()
        sys.modules.update(_alias.outside)
        _alias.outside = {}
        for change in reversed(_alias.changes):
            change.undo(os.environ)
        _alias.changes = []


def installed() -> bool:
    """Tell whether `import ray` means Shoal in this process."""
    return _alias.finder in sys.meta_path


@contextlib.contextmanager
def suspended() -> Iterator[None]:
    """Let `import ray` mean what is really installed, inside the block. All threads see it.

    Example:
        with shoal.compat.suspended():
            import ray as real_ray
    """
    with _alias.lock:
        was = installed()
        if was:
            ours = _take_modules()
            sys.meta_path.remove(_alias.finder)
            sys.modules.update(_alias.outside)
        try:
            yield
        finally:
            if was:
                _alias.outside = _take_modules()
                sys.meta_path.insert(0, _alias.finder)
                sys.modules.update(ours)


def _take_modules() -> dict[str, types.ModuleType]:
    """Take every module called ray out of the table of loaded modules and return them."""
    names = [name for name in sys.modules if name == ROOT or name.startswith(ROOT + ".")]
    return {name: sys.modules.pop(name) for name in names}


def _preload() -> Change:
    from shoal.config import load_config

    modules = [name for name in load_config().worker_preload if name != READY]
    return Change(PRELOAD, ",".join([*modules, READY]), os.environ.get(PRELOAD))
