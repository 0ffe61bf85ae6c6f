"""A request that waits for a replica, as routers see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shoal.serve.routers.base import Asked


@attrs.frozen(kw_only=True)
class RequestMetadata:
    """Who asks for what: the request's name, the method, the model and the session, whether a stream is wanted."""

    request_id: str = ""
    internal_request_id: str = ""
    call_method: str = "__call__"
    route: str = ""
    multiplexed_model_id: str = ""
    session_id: str = ""
    is_streaming: bool = False


@attrs.define(eq=False)
class RoutingContext:
    """What a router remembers of a request from one try to the next; routers may put what they like into `notes`."""

    tries: int = 0
    should_backoff: bool = False
    notes: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(eq=False)
class PendingRequest:
    """A request that waits. `args` and `kwargs` must not be changed; `future` gets the replica that it went to.

    `created_at` is in seconds since 1970; `resolved` says whether the arguments are values by now, and no responses of
    other requests.
    """

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    metadata: RequestMetadata
    created_at: float = attrs.field(factory=time.time)
    future: asyncio.Future[Any] = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())
    routing_context: RoutingContext = attrs.field(factory=RoutingContext)
    resolved: bool = True

    def reset_future(self) -> None:
        """Make a new future: the request is to be routed once more. For the event loop's thread."""
        self.future = asyncio.get_running_loop().create_future()


def pending_of(
    meta: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any], asked: Asked
) -> PendingRequest:
    """Return a call as routers see it. For the event loop's thread."""
    return PendingRequest(
        args=args,
        kwargs=kwargs,
        metadata=RequestMetadata(
            request_id=meta[1],
            internal_request_id=f"{meta[1]}-{id(asked):x}",
            call_method=meta[0],
            route=meta[2],
            multiplexed_model_id=asked.multiplexed_model_id,
            session_id=asked.session_id,
        ),
    )
