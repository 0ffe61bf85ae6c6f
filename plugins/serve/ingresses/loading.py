"""From the name of an ingress to its plugin."""

from __future__ import annotations

from typing import Any

from shoal.errors import PluginBroken
from shoal.serve.ingresses.base import Ingress


def make_ingress(name: str) -> Ingress:
    """Return the ingress of that name. Raises PluginNotFound, which lists what there is, and PluginBroken.

    Example: `make_ingress("proxy").node_server()`
    """
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import SERVE_INGRESSES

    given: Any = load_driver(SERVE_INGRESSES, name)
    if not isinstance(given, type) or not issubclass(given, Ingress):
        raise PluginBroken(f"the ingress {name!r} is {given!r}, no class of Ingress")
    return given()
