"""Which application a path means: the longest route prefix that it begins with, in whole parts."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from shoal.serve.messages import RouteSeen, key_of


@attrs.frozen
class Found:
    """Where a path leads."""

    prefix: str
    app: str
    key: str


class Routes:
    """The routes of all applications.

    Example: `Routes([RouteSeen(prefix="/a", app="x", deployment="D")]).find("/a/b").app` is "x".
    """

    def __init__(self, routes: Sequence[RouteSeen]) -> None:
        self.all = tuple(routes)
        ordered = sorted(routes, key=lambda each: -len(each.prefix))
        self._prefixes = [
            (each.prefix, Found(each.prefix, each.app, key_of(each.app, each.deployment))) for each in ordered
        ]

    def find(self, path: str) -> Found | None:
        """Return where a path leads, None if nowhere."""
        for prefix, found in self._prefixes:
            if prefix == "/" or path == prefix or (path.startswith(prefix) and path[len(prefix)] == "/"):
                return found
        return None
