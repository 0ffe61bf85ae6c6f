"""What the dashboard has of services: the page Serve, and the API to deploy, look and end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import shoal
from shoal.errors import ConfigError, ShoalError
from shoal.interfaces.routes import Contribution, RouteContext
from shoal.util.reports import Report, read

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PATH = "/api/serve/applications/"
_SECONDS = 60.0


def routes(context: RouteContext) -> Contribution:
    """Return what the dashboard shows and does of services; registered as `serve` of the group `shoal.routes`."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    def page() -> Mapping[str, Any]:
        reports = read(context.seen().known.get("reports", ()))
        return content([report for report in reports if report.kind == "serve"])

    async def answer(work: Any, *args: Any) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(work, *args))
        except ConfigError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ShoalError as error:
            return JSONResponse({"error": str(error)}, 500)

    def look() -> Any:
        from shoal.serve.details import instance_details

        context.connect()
        addresses = {each["NodeID"]: each["NodeManagerAddress"] for each in shoal.nodes()}
        return instance_details(details(), addresses).model_dump(mode="json")

    def deploy(given: Any) -> Any:
        from shoal.serve.deploying import deploy_config
        from shoal.serve.schema import read_config

        config = read_config(given)
        context.connect()
        deploy_config(config, wait=False)
        return {}

    def end() -> Any:
        from shoal.serve.api import shutdown

        context.connect()
        shutdown()
        return {}

    async def get(request: Request) -> Response:
        return await answer(look)

    async def put(request: Request) -> Response:
        try:
            given = await request.json()
        except ValueError as error:
            return JSONResponse({"error": f"the body is no JSON: {error}"}, 400)
        return await answer(deploy, given)

    async def delete(request: Request) -> Response:
        return await answer(end)

    return Contribution(
        pages={"serve": page},
        routes=[
            Route(PATH, get, methods=["GET"]),
            Route(PATH, put, methods=["PUT"]),
            Route(PATH, delete, methods=["DELETE"]),
        ],
        paths={PATH: _PATHS},
    )


def details() -> dict[str, Any]:
    """Return all that is known of services, in plain values; nothing if none were started."""
    from shoal.serve.api import controller_or_none

    controller = controller_or_none()
    if controller is None:
        return {"applications": {}, "proxies": {}, "config": None}
    told: dict[str, Any] = shoal.get(controller.details.remote(), timeout=_SECONDS)
    return told


_ERROR = {"content": {"application/json": {"schema": {"type": "object"}}}}
# What the server itself answers, before a route is asked.
_REFUSED = {
    "401": {"description": "no token, or a wrong one", **_ERROR},
    "403": {"description": "the header X-Shoal is missing", **_ERROR},
    "413": {"description": "the body is too large", **_ERROR},
}
_PATHS = {
    "get": {
        "summary": "How applications and proxies are, and the config deployed last",
        "responses": {
            "200": {"description": "all that is known", **_ERROR},
            "400": {"description": "nobody can join", **_ERROR},
            "500": {"description": "the cluster does not answer", **_ERROR},
            **_REFUSED,
        },
    },
    "put": {
        "summary": "Have exactly the applications of a config run",
        "requestBody": {"required": True, **_ERROR},
        "responses": {
            "200": {"description": "they are being deployed", **_ERROR},
            "400": {"description": "the config is wrong", **_ERROR},
            "500": {"description": "its code cannot be imported", **_ERROR},
            **_REFUSED,
        },
    },
    "delete": {
        "summary": "End all applications and the proxies",
        "responses": {
            "200": {"description": "they have ended", **_ERROR},
            "400": {"description": "nobody can join", **_ERROR},
            "500": {"description": "the cluster does not answer", **_ERROR},
            **_REFUSED,
        },
    },
}


def content(reports: list[Report]) -> Mapping[str, Any]:
    """Return the page's content: applications with their deployments, replicas and proxies.

    Example: `content(told("serve"))["tables"][0]["rows"]`
    """
    if not reports or not (reports[0].facts["applications"] or reports[0].facts["proxies"]):
        return {"title": "Serve", "text": "Nothing is served in this session."}
    facts = reports[0].facts
    deployments, replicas = [], []
    for name, app in facts["applications"].items():
        for each, one in app["deployments"].items():
            held = one["replicas"]
            requests = sum(replica.get("requests", 0) for replica in held)
            seconds = sum(replica.get("seconds", 0.0) for replica in held)
            deployments.append(
                [
                    name,
                    app["route_prefix"] or "",
                    app["status"],
                    each,
                    one["status"],
                    f"{one['replica_states'].get('RUNNING', 0)} of {one['wanted']}",
                    requests,
                    sum(replica.get("errors", 0) for replica in held),
                    round(seconds / requests * 1e3, 2) if requests else 0,
                    one["message"] or app["message"],
                ]
            )
            replicas += [
                [
                    replica["replica_id"],
                    replica["pid"],
                    replica["node_id"],
                    replica.get("ongoing", 0),
                    replica.get("requests", 0),
                ]
                for replica in held
            ]
    return {
        "title": "Serve",
        "tables": [
            {
                "name": "deployments",
                "columns": [
                    "application",
                    "route",
                    "application is",
                    "deployment",
                    "it is",
                    "replicas",
                    "requests",
                    "errors",
                    "ms each",
                    "message",
                ],
                "rows": deployments,
            },
            {
                "name": "replicas",
                "columns": ["replica", "pid", "node", "under way", "requests"],
                "rows": replicas,
            },
            {
                "name": "proxies",
                "columns": ["node", "it is", "address", "message"],
                "rows": [
                    [node, each["status"], f"{each['host']}:{each['port']}", each["message"]]
                    for node, each in facts["proxies"].items()
                ],
            },
        ],
    }
