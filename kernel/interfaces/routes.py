"""Routes: what plugins add to the HTTP server of a session, the dashboard's: an API, a page, a document.

A plugin registers a function from a `RouteContext` to a `Contribution` as an entry point of the group `shoal.routes`.
Its routes are Starlette's, and are mounted at the root: a plugin named `jobs` serves `/api/jobs/`. Before a request
reaches them the server has checked who asks, where the request comes from, its host and its size: see the page
docs/plugins/routes.md.

    def routes(context):
        async def list_jobs(request):
            return JSONResponse(await run_in_threadpool(context.ask, read_jobs))

        return Contribution(routes=[Route("/api/jobs/", list_jobs)], paths={"/api/jobs/": {"get": {…}}})

Functions that wait belong into a thread (`starlette.concurrency.run_in_threadpool`): one loop serves all browsers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from shoal.interfaces.looking import SessionSeen


class Page(Protocol):
    """What a library tells its page of the dashboard: called in a thread, at most once a second, for plain JSON data.

    The answer is {"title": …, "tables": [{"name": …, "columns": […], "rows": [[…]]}], "charts": [{"name": …, "series":
    {name: [[seconds since 1970, value], …]}}], "text": …}, of which each part may be left out. What raises is shown as
    the page's error.
    """

    def __call__(self) -> Mapping[str, Any]:
        """Return the page's content as of now."""
        ...


class RouteContext(ABC):
    """What routes may use of the session that is shown. Methods may be called from any thread; those that ask wait."""

    session: str  # its name
    folder: str  # of the session; of the head's node in a cluster
    is_live: bool  # false: a dead session's folder is shown, read only
    cluster: str  # HOST:PORT that `shoal.init(address=…)` takes here; "" if nobody can join

    @abstractmethod
    def seen(self) -> SessionSeen:
        """Return what the session tells, at most a second old. Raises GetTimeout, SystemFailure."""

    @abstractmethod
    def connect(self) -> None:
        """Make this process a driver of the cluster, if it is none yet: then `shoal.get_actor` and the like work.

        Raises ConfigError if the session is a program's own, or dead: nobody can join that.
        """

    @abstractmethod
    def on_close(self, callback: Callable[[], None]) -> None:
        """Call a function when the server ends, in the order they were given, each in a thread and within 2 seconds."""


@attrs.frozen(kw_only=True)
class Contribution:
    """What one plugin adds.

    `routes` are Starlette's `BaseRoute`s, `paths` and `schemas` its parts of the OpenAPI document, by path and by name.
    `pages` fill pages of the dashboard by their names: serve, train, tune, data. `body_limits` are the bytes that
    bodies of requests may have, by the beginning of their paths; elsewhere it is one MiB.
    """

    routes: Sequence[Any] = ()
    paths: Mapping[str, Any] = attrs.field(factory=dict)
    schemas: Mapping[str, Any] = attrs.field(factory=dict)
    pages: Mapping[str, Page] = attrs.field(factory=dict)
    body_limits: Mapping[str, int] = attrs.field(factory=dict)


Routes = Callable[[RouteContext], Contribution]
