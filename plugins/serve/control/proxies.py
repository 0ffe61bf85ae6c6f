"""The proxies: one actor for each node that is to have one, made again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

import shoal
from shoal.errors import ActorError, ShoalError
from shoal.serve.config import HTTPOptions, ProxyLocation, gRPCOptions
from shoal.serve.control.replicas import answer_of
from shoal.serve.ingresses.loading import make_ingress
from shoal.serve.logs import LoggingConfig
from shoal.serve.messages import NAMESPACE, ProxySetup
from shoal.serve.statuses import ProxyStatus
from shoal.serve.tracing import TracingConfig

_log = logging.getLogger("shoal.serve")
_LOOK_SECONDS = 2.0
_START_SECONDS = 60.0
_RETRY_SECONDS = 2.0
_CLOSE_SECONDS = 15.0


@attrs.define(eq=False)
class _Held:
    """The proxy of one node."""

    node_id: str
    actor: Any = None
    status: ProxyStatus = ProxyStatus.STARTING
    host: str = ""
    port: int = 0
    grpc_port: int = 0
    message: str = ""
    pid: int = 0
    task: asyncio.Task[None] | None = None


class Proxies:
    """Keeps a proxy on each node that is to have one."""

    def __init__(
        self,
        http: HTTPOptions,
        grpc: gRPCOptions,
        logging: LoggingConfig | None = None,
        tracing: TracingConfig | None = None,
    ) -> None:
        self._http = http
        self._setup = ProxySetup(http=http, grpc=grpc, logging=logging, tracing=tracing)
        self._held: dict[str, _Held] = {}
        self._changed = asyncio.Event()
        self._looked = False
        self._ends = False
        self._spawn: Callable[[Coroutine[Any, Any, Any]], None] | None = None

    def begin(self, spawn: Callable[[Coroutine[Any, Any, Any]], None]) -> None:
        """Begin to look at nodes."""
        self._spawn = spawn
        spawn(self._look())

    async def _look(self) -> None:
        while not self._ends and self._http.location is not ProxyLocation.Disabled:
            try:
                await self._once()
            except ShoalError as error:  # the head may be away
                _log.info("nodes cannot be listed now: %s", error)
            self._looked = True
            self._tell()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _once(self) -> None:
        nodes = [each["NodeID"] for each in await asyncio.to_thread(shoal.nodes) if each["Alive"]]
        if self._http.location is ProxyLocation.HeadOnly:
            mine = shoal.get_runtime_context().get_node_id()
            nodes = [mine] if mine in nodes else nodes[:1]
        for node in nodes:
            if node not in self._held:
                held = self._held[node] = _Held(node)
                held.task = asyncio.get_running_loop().create_task(self._keep(held))
        for node in [each for each in self._held if each not in nodes]:
            gone = self._held.pop(node)
            if gone.task is not None:
                gone.task.cancel()

    async def _keep(self, held: _Held) -> None:
        while not self._ends:
            try:
                held.actor = await asyncio.to_thread(_create, held.node_id, self._setup_of(held))
                told = await answer_of(held.actor.start.remote(), _START_SECONDS)
                held.host, held.port, held.pid, held.grpc_port = told
                held.status, held.message = ProxyStatus.HEALTHY, ""
                self._tell()
                await held.actor.until_end.remote()
                return
            except ActorError as error:
                held.status, held.message = ProxyStatus.UNHEALTHY, f"the proxy died: {error}"
                _log.warning("the proxy of node %s died and is started again: %s", held.node_id, error)
                self._tell()
                await asyncio.sleep(0.1)
            except Exception as error:  # a port that is taken, a middleware that raises
                held.status, held.message = ProxyStatus.UNHEALTHY, str(error) or type(error).__name__
                _log.warning("the proxy of node %s does not start: %s", held.node_id, error)
                await self._end(held)
                self._tell()
                await asyncio.sleep(_RETRY_SECONDS)

    def _setup_of(self, held: _Held) -> ProxySetup:
        """Return a proxy's setup: one that is made again listens where it did before."""
        port = self._http.port or held.port
        return attrs.evolve(self._setup, http=attrs.evolve(self._http, port=port))

    async def _end(self, held: _Held) -> None:
        if held.actor is not None:
            with contextlib.suppress(ShoalError):
                await asyncio.to_thread(shoal.kill, held.actor)
            held.actor = None

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def ready(self, seconds: float) -> dict[str, tuple[str, int, str]]:
        """Return host, port and message by node when all serve or have failed, at most that many seconds later."""
        end = time.monotonic() + seconds
        while self._http.location is not ProxyLocation.Disabled:
            waits = [each for each in self._held.values() if each.status is ProxyStatus.STARTING]
            left = end - time.monotonic()
            if (self._looked and not waits) or left <= 0:
                break
            try:
                await asyncio.wait_for(self._changed.wait(), min(left, 0.5))
            except asyncio.TimeoutError:
                continue
        return {each.node_id: (each.host, each.port, each.message) for each in self._held.values()}

    def statuses(self) -> dict[str, str]:
        """Return how each node's proxy stands."""
        return {node: held.status.value for node, held in self._held.items()}

    def details(self) -> dict[str, Any]:
        """Return what is known of each node's proxy, in plain values."""
        return {
            node: {
                "node_id": node,
                "status": held.status.value,
                "host": held.host,
                "port": held.port,
                "grpc_port": held.grpc_port,
                "pid": held.pid,
                "message": held.message,
                "actor_id": held.actor._shoal_info.actor_id.hex() if held.actor is not None else "",
            }
            for node, held in self._held.items()
        }

    async def close(self) -> None:
        """End all proxies: they finish the requests they have, within a bound."""
        self._ends = True
        for held in self._held.values():
            if held.task is not None:
                held.task.cancel()
            if held.actor is not None:
                with contextlib.suppress(ShoalError, asyncio.TimeoutError):
                    await answer_of(held.actor.stop.remote(), _CLOSE_SECONDS)
            await self._end(held)
        self._held.clear()


def _create(node_id: str, setup: ProxySetup) -> Any:
    name = f"SERVE_PROXY#{node_id}"
    with contextlib.suppress(ValueError):  # of a controller before this one: it listens at the port
        return shoal.get_actor(name, NAMESPACE)
    return (
        shoal.remote(make_ingress(setup.http.ingress).node_server())
        .options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=setup.http.num_cpus,
            max_concurrency=1_000_000,
            scheduling_strategy=shoal.NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        .remote(setup)
    )
