"""Which application a path means: the longest route prefix that it begins with, in whole parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from shoal.serve.canaries import Canary
from shoal.serve.messages import RouteSeen, key_of


@attrs.frozen
class Found:
    """Where a path leads."""

    prefix: str
    app: str
    key: str
    canary: Canary | None = None
    other: Found | None = None  # the canary's place; of that, the one to go back to

    def pick(self, headers: Iterable[tuple[bytes, bytes]]) -> Found:
        """Return where a request goes: here, or to the canary."""
        if self.canary is not None and self.other is not None and self.canary.takes(headers):
            return self.other
        return self


def found_of(route: RouteSeen) -> Found:
    """Return where a route leads, with its canary."""
    key = key_of(route.app, route.deployment)
    canary = route.canary
    if canary is None:
        return Found(route.prefix, route.app, key)
    back = Found(route.prefix, route.app, key)
    other_key = key_of(canary.application, route.canary_deployment)
    other = Found(route.prefix, canary.application, other_key, None, back)
    return Found(route.prefix, route.app, key, canary, other)


class Routes:
    """The routes of all applications.

    Example: `Routes([RouteSeen(prefix="/a", app="x", deployment="D")]).find("/a/b").app` is "x".
    """

    def __init__(self, routes: Sequence[RouteSeen]) -> None:
        self.all = tuple(routes)
        ordered = sorted(routes, key=lambda each: -len(each.prefix))
        self._prefixes = [(each.prefix, found_of(each)) for each in ordered]

    def find(self, path: str) -> Found | None:
        """Return where a path leads, None if nowhere."""
        for prefix, found in self._prefixes:
            if prefix == "/" or path == prefix or (path.startswith(prefix) and path[len(prefix)] == "/"):
                return found
        return None
