"""Deployments whose HTTP is an application of its own: FastAPI, Starlette, or any other of ASGI."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from shoal.errors import describe

C = TypeVar("C", bound=type)

APP = "__serve_app__"


def ingress(app: Any) -> Callable[[C], C]:
    """Have an ASGI application answer the HTTP requests of a deployment's class, below its route.

    Parameters: `app` is a FastAPI or Starlette application, another ASGI application, or a function without
    parameters that returns one. Methods of the class that are routes of a FastAPI application get the replica's
    object as `self`. Raises TypeError for anything else, and for a deployment: `@serve.deployment` stands above
    `@serve.ingress`.

    Example: `@serve.ingress(fastapi_app)` above a class with `@fastapi_app.get("/")` above a method.
    """
    if not callable(app):
        raise TypeError(
            f"ingress() takes an ASGI application or a function that returns one, not {describe(app)}"
        )

    def decorate(cls: C) -> C:
        if not inspect.isclass(cls):
            raise TypeError(
                f"@serve.ingress(app) is for a class, not {describe(cls)}; @serve.deployment stands above it"
            )
        setattr(cls, APP, app)
        for route in _own_routes(app, cls):
            _resolve(route.endpoint)
        return cls

    return decorate


def application_of(user: Any) -> Any:
    """Return the application of a replica's object, its routes bound to the object."""
    app = type(user).__dict__.get(APP) or getattr(type(user), APP)
    if isinstance(app, staticmethod):
        app = app.__func__
    if inspect.isfunction(app) and not inspect.signature(app).parameters:
        app = app()
    if hasattr(app, "include_router") and hasattr(app, "openapi"):
        _bind_routes(app, user)
    return app


def _own_routes(app: Any, cls: type) -> list[Any]:
    """Return the routes that are methods of a class."""
    # By identity: a class that was sent to another process has lost its qualified name.
    own = {id(value) for each in cls.__mro__ for value in vars(each).values()}
    mine = []
    for route in list(getattr(app, "routes", ())):
        endpoint: Any = getattr(route, "endpoint", None)
        if id(endpoint) in own and next(iter(inspect.signature(endpoint).parameters), "") == "self":
            mine.append(route)
    return mine


def _resolve(endpoint: Any) -> None:
    """Turn annotations that are text into types here: where the method is sent to, their names may mean nothing."""
    try:
        hints = typing.get_type_hints(endpoint, include_extras=True)
    except (NameError, TypeError):
        return  # FastAPI has complained of what it needs
    signature = inspect.signature(endpoint)
    endpoint.__signature__ = signature.replace(
        parameters=[
            each.replace(annotation=hints.get(each.name, each.annotation))
            for each in signature.parameters.values()
        ],
        return_annotation=hints.get("return", signature.return_annotation),
    )


def _bind_routes(app: Any, user: Any) -> None:
    """Give methods that are routes the object as `self`: FastAPI took it for a parameter of the query."""
    from fastapi import APIRouter, Depends

    mine = _own_routes(app, type(user))
    if not mine:
        return

    def instance() -> Any:
        return user

    router = APIRouter()
    for route in mine:
        app.routes.remove(route)
        signature = inspect.signature(route.endpoint)
        first, *rest = signature.parameters.values()
        bound = [first.replace(default=Depends(instance), kind=inspect.Parameter.KEYWORD_ONLY)]
        bound += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in rest]
        route.endpoint.__signature__ = signature.replace(parameters=bound)
        router.routes.append(route)
    app.include_router(router)


def docs_path_of(target: Any) -> str | None:
    """Return where an ingress has its documentation, None if it has none."""
    path = getattr(getattr(target, APP, None), "docs_url", None)
    return path if isinstance(path, str) else None
