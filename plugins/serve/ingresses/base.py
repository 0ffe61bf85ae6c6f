"""The interface of ingresses: plugins of the group `shoal.serve.ingresses`, chosen by `http_options={"ingress": …}`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from shoal.serve.config import HTTPOptions
    from shoal.serve.replica import Replica


class NodeServer(Protocol):
    """What an ingress has on each node: an async actor that the controller makes, watches and makes again."""

    async def start(self) -> tuple[str, int, int]:
        """Begin to serve; return host, port and process. Called again by a controller that was started again: then it
        returns the same. Raises OSError if the port is taken.
        """

    async def until_end(self) -> None:
        """Return when it has stopped as it was told."""

    async def stop(self) -> None:
        """Close the port, finish the requests that run, within a bound."""


class Door(Protocol):
    """How requests come into a replica past the node's server."""

    async def close(self, patience_s: float) -> None:
        """Take no more connections, and return when the requests that came by them are answered, at most
        `patience_s` seconds later. No connection that was made may be lost.
        """


class Ingress(ABC):
    """How HTTP comes to replicas. One object of it is made wherever it is needed: it keeps nothing."""

    name: ClassVar[str] = ""

    def check(self, http: HTTPOptions) -> None:  # noqa: B027  (most can do all of it)
        """Raise ConfigError, saying what to do, for options that this ingress cannot fulfil. In the program that
        starts services.
        """

    @abstractmethod
    def node_server(self) -> type[Any]:
        """Return the class of the actor that each node gets, made with a `ProxySetup`."""

    async def open(self, replica: Replica, http: HTTPOptions) -> Door | None:
        """Let requests into a replica of an application's first deployment, in the replica's event loop, once its
        constructor has returned. None if all requests come by the node's server. What it raises fails the replica.
        """
        return None
