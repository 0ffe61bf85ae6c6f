"""What plugins add to the HTTP server of a session: for the library that serves it."""

from __future__ import annotations

from collections.abc import Iterator

from shoal.errors import PluginError
from shoal.interfaces.routes import Routes

__all__ = ["installed_routes"]


def installed_routes() -> Iterator[tuple[str, Routes | PluginError]]:
    """Yield what is registered in the group `shoal.routes`, by name: the function, or why it cannot be had.

    Example: `[name for name, _ in installed_routes()]`
    """
    from shoal.registry.discover import find, refuse_doubles
    from shoal.registry.drivers import load_found
    from shoal.registry.groups import ROUTES

    found = find(ROUTES)
    for one in found:
        try:
            refuse_doubles(ROUTES, [other for other in found if other.name == one.name])
            make: Routes = load_found(ROUTES, one)
        except PluginError as error:
            yield one.name, error
            continue
        yield one.name, make
