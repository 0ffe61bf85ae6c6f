"""The routes of the JSON API."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.dashboard.api.describing import operation
from shoal.dashboard.api.inspecting import INSPECTION, inspected, inspection
from shoal.dashboard.api.live import News
from shoal.dashboard.api.logs import Logs
from shoal.dashboard.api.overview import functions, overview, series
from shoal.dashboard.api.pages import PageData
from shoal.dashboard.api.records import RESOURCES, Books
from shoal.dashboard.api.slices import MOST_SLICES, slices
from shoal.errors import ConfigError, GetTimeout, ShoalError
from shoal.interfaces.routes import Contribution

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shoal.dashboard.context import SessionContext


def routes(context: SessionContext) -> Contribution:
    """Return the API's routes, and their part of the document."""
    from starlette.exceptions import HTTPException
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    books, news, logs, pages = Books(context), News(context), Logs(context), PageData(context)

    async def listed(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in RESOURCES:
            raise HTTPException(404, f"there is no list of {name!r}; there are {', '.join(RESOURCES)}")
        since = request.query_params.get("since", "")
        return await answered(lambda: books.answer(name, since))

    async def seen(request: Request) -> Response:
        return await answered(lambda: overview(context))

    async def charts(request: Request) -> Response:
        since = number(request, "since", 0.0, 0.0, 1e12)
        return await answered(lambda: series(context, since))

    async def progress(request: Request) -> Response:
        return await answered(lambda: functions(context))

    async def timeline(request: Request) -> Response:
        begin = number(request, "begin", 0.0, 0.0, 1e12)
        end = number(request, "end", 1e12, 0.0, 1e12)
        most = int(number(request, "limit", 5000, 1, MOST_SLICES))
        return await answered(lambda: slices(context, begin, end, most))

    async def follow(request: Request) -> Response:
        if news.is_full:
            raise HTTPException(503, "too many browsers follow this session; close one")
        return StreamingResponse(news.follow(), media_type="text/event-stream")

    async def files(request: Request) -> Response:
        return await answered(logs.files)

    async def log(request: Request) -> Response:
        lines = int(number(request, "lines", 500, 1, 10_000))
        asked = request.query_params
        node, name, search = asked.get("node", ""), asked.get("name", ""), asked.get("search", "")
        return await answered(lambda: logs.read(node, name, lines, search))

    async def inspect(request: Request) -> Response:
        asked = await inspection(request)
        return await answered(lambda: inspected(context, *asked))

    async def page(request: Request) -> Response:
        name = request.path_params["name"]
        return await answered(lambda: pages.content(name))

    return Contribution(
        routes=[
            Route("/api/state/{name}", listed),
            Route("/api/overview", seen),
            Route("/api/series", charts),
            Route("/api/functions", progress),
            Route("/api/timeline", timeline),
            Route("/api/news", follow),
            Route("/api/logs", files),
            Route("/api/log", log),
            Route("/api/inspect", inspect, methods=["POST"]),
            Route("/api/pages/{name}", page),
        ],
        paths={
            "/api/state/{name}": operation(
                "A list of the session, or what has changed since a version of it.",
                {"name": list(RESOURCES)},
                {"since": "The version of an earlier answer."},
                {404: "There is no such list."},
            ),
            "/api/overview": operation("Counts and resources as of now."),
            "/api/series": operation("Points of the charts.", {}, {"since": "Seconds since 1970."}),
            "/api/functions": operation("What became of the calls of each function."),
            "/api/timeline": operation(
                "What ran where and when.",
                {},
                {"begin": "Seconds since 1970.", "end": "Seconds since 1970.", "limit": "Calls at most."},
            ),
            "/api/logs": operation("The log files of every node."),
            "/api/log": operation(
                "The last lines of a log file, those that hold a text if one is given.",
                {},
                {"node": "Its node.", "name": "Its name.", "lines": "Most lines.", "search": "A text."},
                {404: "There is no such file."},
            ),
            "/api/inspect": operation(
                "The stack, a flame graph or the allocations of a process, which stands still for moments.",
                statuses={404: "There is no such process.", 409: "It cannot be done there."},
                method="post",
                body=INSPECTION,
            ),
            "/api/pages/{name}": operation(
                "What a library tells its page.",
                {"name": ["serve", "train", "tune", "data"]},
                statuses={404: "There is no such page."},
            ),
        },
    )


async def answered(ask: Callable[[], Any]) -> Response:
    """Ask in a thread; what the session cannot tell becomes an answer that says so."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response

    status = 200
    try:
        body = await run_in_threadpool(ask)
    except LookupError as error:
        status, body = 404, {"error": "not found", "message": str(error.args[0]) if error.args else ""}
    except GetTimeout as error:
        status, body = 504, {"error": "slow", "message": f"the session is too busy to answer: {error}"}
    except ConfigError as error:
        status, body = 409, {"error": "not possible", "message": str(error)}
    except ShoalError as error:
        status, body = 503, {"error": "unavailable", "message": str(error)}
    return Response(msgspec.json.encode(body, enc_hook=_plain), status, media_type="application/json")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def number(request: Request, name: str, default: float, least: float, most: float) -> float:
    """Return a number of the query. Raises HTTPException (400) if it is none, or out of its bounds."""
    from starlette.exceptions import HTTPException

    given = request.query_params.get(name)
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise HTTPException(400, f"{name} must be a number from {least:g} to {most:g}, not {given[:80]!r}")
    return value
