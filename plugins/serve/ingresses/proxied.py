"""The ingress `proxy`: a server on each node that passes requests on to replicas, wherever they are."""

from __future__ import annotations

from typing import Any, ClassVar

from shoal.serve.ingresses.base import Ingress


class ProxyIngress(Ingress):
    """All requests come by the node's proxy."""

    name: ClassVar[str] = "proxy"

    def node_server(self) -> type[Any]:
        """Return the proxy."""
        from shoal.serve.proxy.actor import Proxy

        return Proxy
