"""The front end: files that the build has made. Whoever asks for a page gets the one document, which finds the page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FOLDER = os.path.join(os.path.dirname(__file__), "static")
PAGES = (
    "nodes",
    "actors",
    "tasks",
    "objects",
    "groups",
    "jobs",
    "serve",
    "train",
    "tune",
    "data",
    "events",
    "logs",
    "workers",
)


def front_end() -> list[Any]:
    """Return the routes of the pages and of what they load."""
    from starlette.responses import FileResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    index = os.path.join(_FOLDER, "index.html")

    async def page(request: Request) -> Response:
        return FileResponse(index, headers={"cache-control": "no-cache"})

    assets = StaticFiles(directory=os.path.join(_FOLDER, "assets"))
    pages = [Route(f"/{name}", page) for name in ("", "login", *PAGES)]
    return [*pages, Mount("/assets", assets)]
