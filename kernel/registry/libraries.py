"""Libraries: what is built on the public API and is had as `shoal.NAME`, ours and those of other distributions."""

from __future__ import annotations

from types import ModuleType

from shoal.errors import PluginBroken
from shoal.registry.discover import find, refuse_doubles
from shoal.registry.drivers import load_found
from shoal.registry.groups import LIBRARIES


def load_library(name: str) -> ModuleType:
    """Return the module that is registered under a name in the group `shoal.libraries`.

    Raises AttributeError if none is, since this is what `shoal.NAME` means, PluginBroken if two are or it is no module.

    Example: `load_library("data").range(10)`
    """
    found = [one for one in find(LIBRARIES) if one.name == name]
    if not found:
        import difflib

        near = difflib.get_close_matches(name, [one.name for one in find(LIBRARIES)], 1)
        hint = f"; there is a library {near[0]!r}" if near else ""
        raise AttributeError(f"module 'shoal' has no attribute {name!r}{hint}")
    refuse_doubles(LIBRARIES, found)
    module: object = load_found(LIBRARIES, found[0])
    if not isinstance(module, ModuleType):
        raise PluginBroken(f"library {name!r} is {found[0]}, which is no module: register one without ':'")
    return module
