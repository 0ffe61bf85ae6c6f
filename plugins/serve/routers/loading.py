"""From a configuration to a router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, PluginBroken, describe
from shoal.serve.request_router.router import RequestRouter
from shoal.serve.routers.base import Router

if TYPE_CHECKING:
    from shoal.serve.config import RequestRouterConfig


def router_class(config: RequestRouterConfig) -> Any:
    """Return the class of a configuration: the one given, of an import path, or of the plugin of that name; a `Router`,
    or a `RequestRouter`, which may wait.

    Raises ConfigError, PluginNotFound and PluginBroken.
    """
    given: Any = config.request_router_class
    if isinstance(given, str) and "." in given:
        from importlib import import_module

        module, _, name = given.replace(":", ".").rpartition(".")
        given = getattr(import_module(module), name)
    elif isinstance(given, str):
        from shoal.registry.drivers import load_driver
        from shoal.registry.groups import SERVE_ROUTERS

        given = load_driver(SERVE_ROUTERS, given)
        if not isinstance(given, type) or not issubclass(given, (Router, RequestRouter)):
            raise PluginBroken(f"the router {config.request_router_class!r} is {given!r}, no class of Router")
    if not isinstance(given, type) or not issubclass(given, (Router, RequestRouter)):
        raise ConfigError(
            "request_router_class must be a Router, a RequestRouter or a plugin's name of the group "
            f"shoal.serve.routers, not {describe(given)}"
        )
    return given


def make_router(config: RequestRouterConfig) -> Router:
    """Return a new router. Raises as `router_class` does, and ConfigError for arguments that it does not take."""
    chosen = router_class(config)
    try:
        made: Router = chosen(**dict(config.request_router_kwargs))
        return made
    except TypeError as error:
        raise ConfigError(f"request_router_kwargs: {error}") from error
