"""Where `.bind()` finds the library of graphs: the plugin `dag` of the group `shoal.graphs`."""

from __future__ import annotations

import functools

from shoal.interfaces.graphs import GraphLibrary

_NAME = "dag"


@functools.cache
def graph_library() -> GraphLibrary:
    """Return the library, imported at the first `.bind()`. Raises PluginNotFound and PluginBroken."""
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import GRAPHS

    return load_driver(GRAPHS, _NAME)()
