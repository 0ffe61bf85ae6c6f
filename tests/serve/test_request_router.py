"""Routers that may wait, of a user's own, and replicas that are chosen before the call."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

import httpx
import pytest

from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.config import RequestRouterConfig
from shoal.serve.exceptions import ServeError
from shoal.serve.request_router import (
    FIFOMixin,
    LocalityMixin,
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)
from shoal.serve.routers.loading import router_class

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.processes


class Sticky(RequestRouter):
    """Names the replica by the first argument, after it has waited."""

    def initialize_state(self, reverse: bool = False) -> None:
        self.reverse = reverse
        self.routed: list[str] = []

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        await asyncio.sleep(0)
        assert pending_request is not None
        if pending_request.args and pending_request.args[0] == "broken":
            raise LookupError("no replica is good enough")
        ordered = sorted(candidate_replicas, key=lambda each: each.replica_id, reverse=self.reverse)
        return [[ordered[hash(pending_request.args[0]) % len(ordered)]]]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: Any, result: Any) -> None:
        self.routed.append(replica_id.unique_id)


class Near(FIFOMixin, LocalityMixin, MultiplexMixin, RequestRouter):
    """Of all parts one."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        assert pending_request is not None
        model = pending_request.metadata.multiplexed_model_id
        if model:
            return self.rank_replicas_via_multiplex(candidate_replicas, model)
        return self.rank_replicas_via_locality(candidate_replicas)


@serve.deployment(num_replicas=3, max_ongoing_requests=2)
class Where:
    def __call__(self, key: Any) -> int:
        return os.getpid()

    async def slow(self, number: Any) -> Any:
        await asyncio.sleep(0.01)
        return number

    def record_routing_stats(self) -> dict[str, Any]:
        return {"peer": os.getpid()}


def router(cls: Any, **kwargs: Any) -> Any:
    return RequestRouterConfig(request_router_class=cls, request_router_kwargs=kwargs)


def test_a_router_of_ones_own_says_where_requests_go(client: httpx.Client) -> None:
    handle = serve.run(
        Where.options(request_router_config=router(Sticky, reverse=True)).bind(), route_prefix=None
    )
    seen = {key: {handle.remote(key).result(timeout_s=30) for _ in range(5)} for key in range(12)}
    assert all(len(processes) == 1 for processes in seen.values())
    assert len(set().union(*seen.values())) == 3
    with pytest.raises(LookupError, match="no replica is good enough"):
        handle.remote("broken").result(timeout_s=30)
    waiting = [handle.slow.remote(number) for number in range(60)]  # more than there is room for
    assert [each.result(timeout_s=30) for each in waiting] == list(range(60))


def test_parts_together_and_models_stay_where_they_are(client: httpx.Client) -> None:
    handle = serve.run(Where.options(request_router_config=router(Near)).bind(), route_prefix=None)
    waiting = [handle.slow.remote(number) for number in range(60)]
    assert [each.result(timeout_s=30) for each in waiting] == list(range(60))
    model = handle.options(multiplexed_model_id="m")
    assert len({model.remote(number).result(timeout_s=30) for number in range(10)}) == 1


def test_a_replica_is_chosen_first_and_called_then(client: httpx.Client) -> None:
    handle = serve.run(Where.options(num_replicas=2).bind(), route_prefix=None)

    async def ask() -> None:
        for _ in range(6):
            async with handle.choose_replica("key") as chosen:
                process = await handle.dispatch(chosen, "key")
                peer = chosen.replica_metadata.get("peer", process)
                assert peer == process
            with pytest.raises(ServeError, match="choose again"):
                handle.dispatch(chosen, "key")
        for _ in range(10):  # what is not used is given back
            async with handle.choose_replica("key"):
                pass
        assert Counter([await handle.remote("key") for _ in range(10)]).total() == 10

    asyncio.run(ask())
    handle.shutdown()
    with pytest.raises(ServeError, match="was shut down"):
        handle.remote("key")


def test_what_is_wrong_is_refused() -> None:
    assert router_class(router(Sticky)) is Sticky
    with pytest.raises(ConfigError, match="max_backoff_s must be a number > 0"):
        RequestRouterConfig(max_backoff_s=0)
    with pytest.raises(ConfigError, match="there is no other"):
        serve.api.DeploymentHandle("D").options(request_serialization="msgpack")
    with pytest.raises(TypeError, match="takes no request_router_kwargs: colour"):
        Near(deployment_id=None).initialize_state(colour=1)  # type: ignore[arg-type]
