"""The ingress `direct`: replicas that take connections at the port of their node themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from shoal.errors import ConfigError
from shoal.serve.ingresses.base import Door, Ingress

if TYPE_CHECKING:
    from shoal.serve.config import HTTPOptions
    from shoal.serve.replica import Replica


class DirectIngress(Ingress):
    """One process fewer on each request's way.

    The node's server opens the port and lends its socket to the replicas; it takes connections itself only while no
    replica of its node does, and passes their requests on. So nothing that has connected is lost when replicas come
    and go, and a deployment may have none for a while.
    """

    name: ClassVar[str] = "direct"

    def check(self, http: HTTPOptions) -> None:
        """Raise ConfigError for HTTP/2: its server does not take connections from a socket that is shared."""
        if http.http2:
            raise ConfigError(
                "the ingress 'direct' speaks HTTP/1.1 only: leave out http2, or use ingress='proxy'"
            )

    def node_server(self) -> type[Any]:
        """Return the proxy that lends its socket."""
        from shoal.serve.ingresses.direct.node import LendingProxy

        return LendingProxy

    async def open(self, replica: Replica, http: HTTPOptions) -> Door | None:
        """Have the replica accept."""
        from shoal.serve.ingresses.direct.door import open_door

        return await open_door(replica, http)
