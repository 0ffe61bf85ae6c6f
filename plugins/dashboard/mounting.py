"""The routes of all plugins in one application, with the document that describes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import shoal
from shoal.dashboard.access import TooLarge
from shoal.dashboard.api.describing import operation
from shoal.dashboard.api.routes import routes as own_routes
from shoal.dashboard.pages import front_end
from shoal.errors import PluginError, describe
from shoal.interfaces.routes import Contribution
from shoal.routes import installed_routes

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from shoal.dashboard.access import Keys
    from shoal.dashboard.context import SessionContext
    from shoal.interfaces.services import WebSetup

_log = logging.getLogger("shoal.dashboard")


def mount(setup: WebSetup, context: SessionContext, keys: Keys) -> tuple[ASGIApp, Mapping[str, int]]:
    """Return the application without its gate, and the bytes that bodies may have by the beginning of their path."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    contributions = {"dashboard": _own(setup, keys), "api": own_routes(context), **_installed(context)}
    document = openapi(contributions, setup.url)

    async def document_of(request: Request) -> Response:
        return _json(document)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        named = {404: "not found", 405: "wrong method"}.get(error.status_code, "refused")
        return _json({"error": named, "message": str(error.detail)}, error.status_code)

    async def too_large(request: Request, error: Exception) -> Response:
        return _json({"error": "too large", "message": str(error)}, 413)

    async def failed(request: Request, error: Exception) -> Response:
        number = os.urandom(4).hex()
        _log.error("error %s in %s %s", number, request.method, request.url.path, exc_info=error)
        text = f"the server failed; its log dashboard.log has it under {number}"
        return _json({"error": "failed", "message": text}, 500)

    routes: list[Any] = [Route("/api/openapi.json", document_of)]
    limits: dict[str, int] = {}
    for contribution in contributions.values():
        routes += contribution.routes
        limits.update(contribution.body_limits)
        context.pages.update(contribution.pages)
    routes += front_end()
    handlers: dict[Any, Any] = {HTTPException: refused, TooLarge: too_large, Exception: failed}
    return Starlette(routes=routes, exception_handlers=handlers), limits


def openapi(contributions: Mapping[str, Contribution], url: str) -> dict[str, Any]:
    """Return the OpenAPI document of contributions: their paths and schemas put together.

    Raises PluginError if two describe one path or schema in different words.
    """
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for name, contribution in contributions.items():
        for mine, all_ in ((contribution.paths, paths), (contribution.schemas, schemas)):
            for key, value in mine.items():
                if all_.setdefault(key, value) != value:
                    raise PluginError(f"routes {name!r} describe {key!r}, which others describe already")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shoal", "version": shoal.__version__},
        "servers": [{"url": url}],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _installed(context: SessionContext) -> dict[str, Contribution]:
    """Return what plugins contribute; one that is broken is left out, and the log says why."""
    found: dict[str, Contribution] = {}
    for name, make in installed_routes():
        if isinstance(make, Exception):
            _log.error("routes %r are left out: %s", name, make)
            continue
        try:
            made = make(context)
            if not isinstance(made, Contribution):
                raise TypeError(f"routes return a Contribution, not {describe(made)}")
        except Exception:  # a stranger's function may raise anything
            _log.exception("routes %r are left out", name)
            continue
        found[name] = made
    return found


def _own(setup: WebSetup, keys: Keys) -> Contribution:
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def version(request: Request) -> Response:
        return _json({"version": shoal.__version__, "ray_version": "", "session_name": setup.session})

    async def log_in(request: Request) -> Response:
        try:
            given = (await request.json())["token"]
        except (ValueError, LookupError, TypeError):
            given = None
        if not isinstance(given, str):
            return _json({"error": "bad request", "message": 'the body must be {"token": TEXT}'}, 400)
        if not keys.check_token(given):
            text = "that is not this session's token; `shoal dashboard` shows it"
            return _json({"error": "wrong token", "message": text}, 401)
        answer = _json({"session": setup.session})
        _set_cookie(answer, keys, keys.make_cookie(), bool(setup.certificate))
        return answer

    async def log_out(request: Request) -> Response:
        answer = _json({})
        _set_cookie(answer, keys, "", bool(setup.certificate))
        return answer

    text = {"description": "What it is.", "content": {"application/json": {"schema": {"type": "object"}}}}
    token = {"type": "object", "properties": {"token": {"type": "string"}}, "required": ["token"]}
    return Contribution(
        routes=[
            Route("/healthz", health),
            Route("/api/version", version),
            Route("/api/login", log_in, methods=["POST"]),
            Route("/api/logout", log_out, methods=["POST"]),
        ],
        paths={
            "/healthz": {
                "get": {
                    "summary": "Whether the server answers.",
                    "security": [],
                    "responses": {"200": {"description": "It does."}},
                }
            },
            "/api/version": operation("The version of Shoal."),
            "/api/login": {
                "post": {
                    "summary": "Exchange the token for a cookie.",
                    "security": [],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": token}}},
                    "responses": {
                        "200": text,
                        "400": {"description": "No token was given."},
                        "401": {"description": "It is not this session's token."},
                        "403": {"description": "The header X-Shoal is missing."},
                        "413": {"description": "The body is too large."},
                    },
                }
            },
            "/api/logout": {
                "post": {
                    "summary": "Forget the cookie.",
                    "security": [],
                    "responses": {
                        "200": text,
                        "401": {"description": "A wrong token was shown."},
                        "403": {"description": "The header X-Shoal is missing."},
                        "413": {"description": "The body is too large."},
                    },
                }
            },
        },
    )


def _set_cookie(answer: Response, keys: Keys, value: str, is_tls: bool) -> None:
    from shoal.dashboard.access import COOKIE_SECONDS

    answer.set_cookie(
        keys.cookie,
        value,
        max_age=COOKIE_SECONDS if value else 0,
        path="/",
        secure=is_tls,
        httponly=True,
        samesite="strict",
    )


def _json(value: Any, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status)
