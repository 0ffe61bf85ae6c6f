"""The controller: a detached actor that does what the machine says, and tells callers how things are."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import time
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any

import cloudpickle

import shoal
from shoal.errors import ShoalError
from shoal.interfaces.current import current
from shoal.serve.canaries import Canary
from shoal.serve.config import HTTPOptions, gRPCOptions
from shoal.serve.control import saved
from shoal.serve.control.events import (
    Action,
    Delete,
    Deploy,
    Event,
    Publish,
    PublishRoutes,
    Reconfigure,
    Save,
    Scale,
    SetCanary,
    Start,
    Stop,
    Tick,
)
from shoal.serve.control.machine import Machine
from shoal.serve.control.news import News
from shoal.serve.control.proxies import Proxies
from shoal.serve.control.replicas import Replicas
from shoal.serve.control.scaling import Scaler
from shoal.serve.logs import LoggingConfig
from shoal.serve.logs import set_up as set_up_logs
from shoal.serve.messages import (
    NAMESPACE,
    ROUTES,
    ApplicationSpec,
    DeploymentSeen,
    ReplicaSeen,
    RouteSeen,
    key_of,
)
from shoal.serve.tracing import TracingConfig
from shoal.util.reports import tell

_log = logging.getLogger("shoal.serve")
_TICK_SECONDS = 0.1
_TELL_SECONDS = 2.0
_STATE_KEY = b"state"
_HEARD_SECONDS = 5.0


class Controller:
    """Keeps applications as they were asked for. One for each session; begun by `serve.start`."""

    def __init__(
        self,
        http: HTTPOptions,
        logging: LoggingConfig | None = None,
        tracing: TracingConfig | None = None,
        grpc: gRPCOptions | None = None,
    ) -> None:
        self._http = http
        self._grpc = grpc or gRPCOptions()
        if logging is not None:
            set_up_logs(logging, "controller", str(os.getpid()), {"component": "controller"})
        self._machine = Machine(lambda: uuid.uuid4().hex[:8])
        self._news = News(self._unknown)
        self._replicas = Replicas(self._happened, self._news, logging, tracing, self._restated, http)
        self._proxies = Proxies(http, self._grpc, logging, tracing)
        self._scaler = Scaler(self._machine, self._replicas)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._saving = False
        self._ends = False
        self._beginning: asyncio.Task[None] | None = None
        self._config: dict[str, Any] | None = None
        self._started_at, self._rounds = time.time(), 0

    async def begin(self) -> dict[str, Any]:
        """Take over what a controller before this one left, and begin to work; once. Returns how it was begun.

        Every other method does it first: a controller that was started again is asked by anybody.
        """
        if self._beginning is None:
            self._beginning = asyncio.get_running_loop().create_task(self._begin())
        await asyncio.shield(self._beginning)
        return {"http": self._http, "grpc": self._grpc}

    async def _begin(self) -> None:
        await self._take_over()
        self._spawn(self._tick())
        self._proxies.begin(self._spawn)
        self._spawn(self._tell())

    # What callers ask

    async def listen(
        self, listener: str, known: dict[str, int], seconds: float
    ) -> dict[str, tuple[int, Any]]:
        """Return what is new to a caller; see News.listen."""
        await self.begin()
        return await self._news.listen(listener, known, seconds)

    async def queued(self, listener: str, waiting: Mapping[str, int]) -> None:
        """Take note of how many requests wait in a caller."""
        await self.begin()
        self._scaler.queued(listener, waiting, time.monotonic())
        self._act(self._scaler.look(time.monotonic()))

    async def deploy(self, apps: list[ApplicationSpec]) -> None:
        """Have applications run as these say."""
        await self.begin()
        self._check_routes(apps)
        self._act(self._machine.handle(Deploy(tuple(apps)), time.monotonic()))
        self._wake()

    def _check_routes(self, apps: list[ApplicationSpec]) -> None:
        mine = {each.name for each in apps}
        taken: dict[str, str] = {
            app.spec.route_prefix: name
            for name, app in self._machine.apps.items()
            if name not in mine and not app.deleting and app.spec.route_prefix is not None
        }
        for each in apps:
            other = taken.get(each.route_prefix or "")
            if other is not None:
                raise ValueError(
                    f"the route {each.route_prefix!r} of application {each.name!r} is that of application {other!r}: "
                    "give one of them another route_prefix, or delete it"
                )
            if each.route_prefix is not None:
                taken[each.route_prefix] = each.name

    async def delete(self, names: list[str]) -> list[str]:
        """End applications; returns the names of those that there were."""
        await self.begin()
        found = [name for name in names if name in self._machine.apps]
        for name in found:
            self._act(self._machine.handle(Delete(name), time.monotonic()))
        self._wake()
        return found

    async def scale(self, app: str, deployment: str, replicas: int) -> None:
        """Give a deployment another number of replicas. Raises ValueError if there is none, or the
        application was not run with `external_scaler_enabled`.
        """
        await self.begin()
        found = self._machine.apps.get(app)
        one = found.deployments.get(deployment) if found is not None else None
        if one is None:
            raise ValueError(f"there is no deployment {deployment!r} in application {app!r}")
        assert found is not None, "it has that deployment"
        if not found.spec.external_scaler:
            raise ValueError(
                f"application {app!r} is not scaled from outside: run it with external_scaler_enabled=True"
            )
        self._act(self._machine.handle(Scale(app, deployment, replicas, "asked"), time.monotonic()))

    async def set_canary(self, app: str, canary: Canary | None) -> None:
        """Send part of an application's requests to another, or (None) none any more.

        Raises ValueError if either is not there.
        """
        await self.begin()
        for name in (app, *(() if canary is None else (canary.application,))):
            found = self._machine.apps.get(name)
            if found is None or found.deleting:
                raise ValueError(
                    f"there is no application named {name!r}; there are: {sorted(self._machine.apps)}"
                )
        if canary is not None and canary.application == app:
            raise ValueError(f"application {app!r} cannot be its own canary")
        self._act(self._machine.handle(SetCanary(app, canary), time.monotonic()))
        await self._news.heard(ROUTES, _HEARD_SECONDS)

    async def wait_for(self, names: list[str], seconds: float) -> dict[str, tuple[str, str]]:
        """Return the status and message of applications, when they run or have failed, or that many seconds later."""
        await self.begin()
        end = time.monotonic() + seconds
        while True:
            now = {
                name: (app.status, app.message)
                if (app := self._machine.apps.get(name))
                else ("NOT_STARTED", "")
                for name in names
            }
            if all(status in ("RUNNING", "DEPLOY_FAILED", "NOT_STARTED") for status, _ in now.values()):
                await self._until_heard(names)
                return now
            left = end - time.monotonic()
            if left <= 0:
                return now
            try:
                await asyncio.wait_for(self._changed.wait(), min(left, 1.0))
            except asyncio.TimeoutError:
                continue

    async def _until_heard(self, names: list[str]) -> None:
        """Wait until all callers know what these applications are now, within a bound."""
        deployments = [
            (name, each)
            for name in names
            if (app := self._machine.apps.get(name))
            for each in app.deployments
        ]
        keys = [ROUTES, *(key_of(name, each) for name, each in deployments)]
        await asyncio.gather(*(self._news.heard(key, _HEARD_SECONDS) for key in keys))

    async def proxies_ready(self, seconds: float) -> dict[str, tuple[str, int, str]]:
        """Return host, port and message of each node's proxy, when all serve or have failed."""
        await self.begin()
        return await self._proxies.ready(seconds)

    async def grpc_ports(self) -> dict[str, int]:
        """Return where each node's proxy listens for gRPC, 0 where it does not."""
        await self.begin()
        return {node: each["grpc_port"] for node, each in self._proxies.details().items()}

    async def status(self) -> dict[str, Any]:
        """Return how everything stands, in plain values."""
        await self.begin()
        return {"proxies": self._proxies.statuses(), "applications": saved.describe(self._machine)}

    async def details(self) -> dict[str, Any]:
        """Return all that is known, in plain values: for the dashboard and the command line."""
        await self.begin()
        described = saved.describe(self._machine)
        for name, app in described.items():
            for each, one in app["deployments"].items():
                one["replicas"] = self._replicas.details(key_of(name, each))
                one["autoscaling"] = self._scaler.details(key_of(name, each))
        return {
            "applications": described,
            "proxies": self._proxies.details(),
            "config": self._config,
            "instance": self._instance(),
        }

    def _instance(self) -> dict[str, Any]:
        """What is known of this process, and how it was told to serve."""
        now = time.time()
        context = shoal.get_runtime_context()
        return {
            "controller_info": {"node_id": context.get_node_id(), "actor_id": context.get_actor_id()},
            "http_options": saved.plain(self._http),
            "grpc_options": saved.plain(self._grpc),
            "proxy_location": str(getattr(self._http.location, "value", self._http.location)),
            "controller_health_metrics": {
                "timestamp": now,
                "controller_start_time": self._started_at,
                "uptime_s": now - self._started_at,
                "num_control_loops": self._rounds,
                "num_asyncio_tasks": len(asyncio.all_tasks()),
            },
        }

    async def ingress_of(self, app: str) -> str:
        """Return the name of an application's first deployment. Raises ValueError if there is no such application."""
        await self.begin()
        found = self._machine.apps.get(app)
        if found is None or found.deleting:
            names = ", ".join(sorted(self._machine.apps)) or "none"
            raise ValueError(f"there is no application named {app!r}; there are: {names}")
        return found.spec.ingress

    async def has(self, app: str, deployment: str) -> bool:
        """Tell whether an application has a deployment of that name."""
        await self.begin()
        found = self._machine.apps.get(app)
        return found is not None and deployment in found.deployments

    async def keep_config(self, config: dict[str, Any] | None) -> None:
        """Remember the config file that was deployed last."""
        await self.begin()
        self._config = config
        self._save()

    async def shutdown(self, seconds: float) -> None:
        """End all applications, then the proxies."""
        await self.begin()
        await self.delete(list(self._machine.apps))
        end = time.monotonic() + seconds
        while self._machine.apps and time.monotonic() < end:
            try:
                await asyncio.wait_for(self._changed.wait(), 0.2)
            except asyncio.TimeoutError:
                continue
        self._ends = True
        await self._proxies.close()
        await self._replicas.kill_all()
        engine = current.engine
        if engine is not None:
            await asyncio.to_thread(engine.kv_delete, _STATE_KEY, NAMESPACE)

    # Inside

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        while not self._ends:
            await asyncio.sleep(_TICK_SECONDS)
            self._rounds += 1
            try:
                now = time.monotonic()
                self._act(self._machine.handle(Tick(), now))
                self._act(self._scaler.look(now))
            except Exception:  # a policy of a user, a fault of ours: the next tick tries again
                _log.exception("the controller of shoal.serve failed in a tick")

    async def _tell(self) -> None:
        """Tell the dashboard's page how things are, when they have changed."""
        before = ""
        while not self._ends:
            facts = await self.details()
            facts = {name: facts[name] for name in ("applications", "proxies")}
            now = json.dumps(facts, default=str)
            if now != before:
                before = now
                try:
                    await asyncio.to_thread(tell, "serve", "services", json.loads(now))
                except (ShoalError, ValueError) as error:  # too many applications for a report, or no head
                    _log.debug("the dashboard is not told: %s", error)
            await asyncio.sleep(_TELL_SECONDS)

    def _happened(self, event: Event) -> None:
        self._act(self._machine.handle(event, time.monotonic()))
        self._wake()

    def _restated(self, replica: str) -> None:
        app, name, _ = replica.split("#")
        self._news.publish(key_of(app, name), self._seen(app, name))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start():
                    self._spawn(self._replicas.start(action))
                case Stop():
                    self._spawn(self._replicas.stop(action))
                case Reconfigure():
                    self._spawn(self._replicas.reconfigure(action))
                case Publish():
                    self._publish(action.app, action.deployment)
                case PublishRoutes():
                    self._publish_routes()
                case Save():
                    self._save()
        if actions:
            self._wake()

    def _publish(self, app: str, name: str) -> None:
        key = key_of(app, name)
        self._news.publish(key, self._seen(app, name))
        self._replicas.tell_world(key, [each.replica_id for each in self._machine.running(app, name)])

    def _seen(self, app: str, name: str) -> DeploymentSeen:
        found = self._machine.apps.get(app)
        deployment = found.deployments.get(name) if found is not None else None
        if found is None or deployment is None or deployment.deleted:
            unknown: DeploymentSeen = self._unknown(key_of(app, name))
            return unknown
        running = deployment.of("RUNNING")
        options = deployment.target.options
        gone = ""
        if deployment.failed and not running and deployment.stable is None:
            gone = f"it did not come up: {deployment.message}"
        return DeploymentSeen(
            replicas=tuple(
                ReplicaSeen(
                    replica_id=each.replica_id,
                    actor=self._replicas.actor(each.replica_id),
                    node_id=self._replicas.node(each.replica_id),
                    max_ongoing=each.spec.options.max_ongoing_requests,
                    **self._replicas.routing(each.replica_id),
                )
                for each in running
                if self._replicas.has(each.replica_id)  # of those taken over some may be gone
            ),
            max_queued=options.max_queued_requests,
            backpressure=options.backpressure_config,
            router=options.request_router_config,
            gone=gone,
        )

    def _unknown(self, key: str) -> Any:
        if key == ROUTES:
            return []
        app, _, name = key.partition("#")
        found = self._machine.apps.get(app)
        if found is not None and name in found.deployments and not found.deployments[name].deleted:
            return DeploymentSeen()
        return DeploymentSeen(gone=f"there is no deployment {name!r} in application {app!r}")

    def _publish_routes(self) -> None:
        routes = []
        for app in self._machine.apps.values():
            routed = app.routed
            if routed is not None and routed.route_prefix is not None and not app.deleting:
                spec = routed.deployments[routed.ingress]
                canary = app.spec.canary
                other = self._machine.apps.get(canary.application) if canary is not None else None
                if other is None or other.deleting or other.routed is None:
                    canary = None  # it does not serve, or not yet
                routes.append(
                    RouteSeen(
                        prefix=routed.route_prefix,
                        app=routed.name,
                        deployment=routed.ingress,
                        asgi=spec.kind == "asgi",
                        docs_path=spec.docs_path,
                        canary=canary,
                        canary_deployment=other.routed.ingress if other is not None and other.routed else "",
                    )
                )
        self._news.publish(ROUTES, routes)

    # What survives this process

    def _save(self) -> None:
        if not self._saving and not self._ends:
            self._saving = True
            self._spawn(self._save_soon())

    async def _save_soon(self) -> None:
        await asyncio.sleep(0.02)  # what comes together is written once
        self._saving = False
        engine = current.engine
        if engine is not None and not self._ends:
            state = cloudpickle.dumps((saved.to_save(self._machine), self._config))
            await asyncio.to_thread(engine.kv_put, _STATE_KEY, state, True, NAMESPACE)

    async def _take_over(self) -> None:
        engine = current.engine
        state = await asyncio.to_thread(engine.kv_get, _STATE_KEY, NAMESPACE) if engine is not None else None
        if state is None:
            return
        apps, self._config = pickle.loads(state)
        for app in apps:
            self._machine.adopt(app)
            for deployment in app.deployments.values():
                for replica in list(deployment.replicas.values()):
                    replica.since = time.monotonic()
                    await self._replicas.adopt(replica, self._spawn)
        for app in list(self._machine.apps.values()):
            for name in app.deployments:
                self._publish(app.spec.name, name)
        self._publish_routes()
