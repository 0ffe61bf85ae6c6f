"""The applications as a state machine: events in, actions out. No clock, no processes in here.

A deployment has a target, which is what was asked for last, and a stable version, which is what ran last with
all its replicas. A new version comes up beside the old one: an old replica ends only when a new one serves, so
what does not come up takes nothing away. Where there is no room for both, an old replica makes room, as long as
another one serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from shoal.serve.control.events import (
    Action,
    Delete,
    Deploy,
    Died,
    Event,
    Failed,
    Placed,
    Publish,
    PublishRoutes,
    Reconfigure,
    Save,
    Scale,
    SetCanary,
    Start,
    Started,
    Stop,
    Stopped,
    Tick,
)
from shoal.serve.control.gangs import as_gangs, broken_with, empty_seats, new_gang, size_of
from shoal.serve.gang import GangContext
from shoal.serve.messages import ApplicationSpec, DeploymentSpec, key_of

STARTING, RUNNING, STOPPING = "STARTING", "RUNNING", "STOPPING"
PATIENCE_SECONDS = 5.0  # for room, before an old replica makes some
_FAILURES = 3  # constructors for each replica wanted, up to max_constructor_retry_count
_MOST_BACKOFF_SECONDS = 20.0


@attrs.define(eq=False)
class ReplicaState:
    """One process: of which version, since when, how far."""

    replica_id: str
    spec: DeploymentSpec
    since: float
    state: str = STARTING
    placed: bool = False
    seat: GangContext | None = None


@attrs.define(eq=False)
class DeploymentState:
    """What is wanted of one deployment, and what is there."""

    app: str
    name: str
    target: DeploymentSpec
    wanted: int
    stable: DeploymentSpec | None = None
    replicas: dict[str, ReplicaState] = attrs.field(factory=dict)
    failures: int = 0
    next_try: float = 0.0
    failed: bool = False  # the target did not come up
    message: str = ""
    deleted: bool = False
    trigger: str = "CONFIG_UPDATE_STARTED"

    @property
    def active(self) -> DeploymentSpec | None:
        """The version that is to serve: the target, or what served before it failed."""
        return self.stable if self.failed else self.target

    def of(self, state: str) -> list[ReplicaState]:
        """Return the replicas in a state."""
        return [each for each in self.replicas.values() if each.state == state]

    @property
    def status(self) -> str:
        """HEALTHY, UPDATING, UPSCALING, DOWNSCALING, UNHEALTHY or DEPLOY_FAILED."""
        if self.failed:
            return "DEPLOY_FAILED"
        good = [each for each in self.of(RUNNING) if each.spec.version == self.target.version]
        others = [each for each in self.replicas.values() if each.spec.version != self.target.version]
        if len(good) == self.wanted and not others and not self.of(STARTING):
            return "HEALTHY"
        if self.trigger in ("UPSCALE", "DOWNSCALE"):
            return "UPSCALING" if self.trigger == "UPSCALE" else "DOWNSCALING"
        if self.trigger == "DIED":
            return "UNHEALTHY"
        return "UPDATING"


@attrs.define(eq=False)
class ApplicationState:
    """An application: what it is to be, and its deployments."""

    spec: ApplicationSpec
    deployed_at: float
    deployments: dict[str, DeploymentState] = attrs.field(factory=dict)
    deleting: bool = False
    routed: ApplicationSpec | None = None  # what proxies have been told

    @property
    def status(self) -> str:
        """DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY or DELETING."""
        if self.deleting:
            return "DELETING"
        states = {each.status for each in self.deployments.values() if not each.deleted}
        for status, name in (
            ("DEPLOY_FAILED", "DEPLOY_FAILED"),
            ("UNHEALTHY", "UNHEALTHY"),
            ("UPDATING", "DEPLOYING"),
        ):
            if status in states:
                return name
        if self.routed is None and states & {"UPSCALING"}:
            return "DEPLOYING"
        return "RUNNING"

    @property
    def message(self) -> str:
        """Why it is as it is."""
        texts = [f"{each.name}: {each.message}" for each in self.deployments.values() if each.message]
        return "\n".join(texts)


class Machine:
    """All applications. `handle` takes what happened and returns what to do, in order.

    Parameters: `new_id` makes names of replicas that were never used.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.apps: dict[str, ApplicationState] = {}
        self._where: dict[str, DeploymentState] = {}  # by replica

    def handle(self, event: Event, now: float) -> list[Action]:
        """Return what to do now that this has happened. `now` is in seconds, of a clock that does not go back."""
        match event:
            case Deploy():
                return self._deploy(event, now)
            case Delete():
                return self._delete(event.app, now)
            case Tick():
                actions: list[Action] = []
                for app in list(self.apps.values()):
                    for each in list(app.deployments.values()):
                        actions += self._reconcile(each, now)
                return actions
            case Scale():
                return self._scale(event, now)
            case SetCanary():
                changed = self.apps[event.app]
                changed.spec = attrs.evolve(changed.spec, canary=event.canary)
                return [PublishRoutes(), Save()]
        deployment = self._where.get(event.replica)
        if deployment is None:
            return []
        replica = deployment.replicas[event.replica]
        match event:
            case Placed():
                replica.placed = True
                return []
            case Started():
                return self._started(deployment, replica, now)
            case Failed():
                return self._failed(deployment, replica, event, now)
            case Died():
                return self._died(deployment, replica, event.why, now)
            case Stopped():
                return self._forget(deployment, replica, now)

    # What people want

    def _deploy(self, event: Deploy, now: float) -> list[Action]:
        actions: list[Action] = []
        for spec in event.apps:
            app = self.apps.get(spec.name)
            if app is None:
                app = self.apps[spec.name] = ApplicationState(spec, now)
            if (
                spec.config is None
            ):  # what a program deploys anew keeps its canary; a config file says it itself
                spec = attrs.evolve(spec, canary=app.spec.canary)
            app.spec, app.deployed_at, app.deleting = spec, now, False
            for name, wanted in spec.deployments.items():
                actions += self._want(app, name, wanted, now)
            for name, each in list(app.deployments.items()):
                if name not in spec.deployments:
                    each.deleted, each.wanted = True, 0
            actions += self._routes(app)
            for each in list(app.deployments.values()):
                actions += self._reconcile(each, now)
        return [*actions, Save()]

    def _want(self, app: ApplicationState, name: str, spec: DeploymentSpec, now: float) -> list[Action]:
        scaling = spec.options.autoscaling_config
        first = spec.options.num_replicas
        if scaling is not None:
            first = scaling.min_replicas if scaling.initial_replicas is None else scaling.initial_replicas
            first = -(-first // size_of(spec)) * size_of(spec)
        known = app.deployments.get(name)
        if known is None:
            app.deployments[name] = DeploymentState(app.spec.name, name, spec, first)
            return [Publish(app.spec.name, name)]
        actions: list[Action] = []
        before = known.target
        known.deleted = False
        if before.version == spec.version and not known.failed:
            known.trigger = (
                "UPSCALE" if first > known.wanted else "DOWNSCALE" if first < known.wanted else known.trigger
            )
        else:
            known.trigger = "CONFIG_UPDATE_STARTED"
        if app.spec.external_scaler and before.options.autoscaling_config is None:
            first = known.wanted  # whoever scales it goes on to
        if scaling is not None and before.options.autoscaling_config is not None:
            known.wanted = min(max(known.wanted, scaling.min_replicas), scaling.max_replicas)
        else:
            known.wanted = first
        known.target, known.failed, known.failures, known.next_try, known.message = spec, False, 0, 0.0, ""
        if known.stable is not None and known.stable.version == spec.version:
            known.stable = spec
        light = (
            before.options.user_config != spec.options.user_config
            or before.options.max_ongoing_requests != spec.options.max_ongoing_requests
        )
        for each in known.replicas.values():
            if each.spec.version == spec.version and each.state != STOPPING:
                each.spec = spec
                if light and each.state == RUNNING:
                    actions.append(Reconfigure(each.replica_id, known.app, name, spec))
        return [*actions, Publish(known.app, name)]

    def _delete(self, name: str, now: float) -> list[Action]:
        app = self.apps.get(name)
        if app is None:
            return []
        app.deleting = True
        app.routed = None
        actions: list[Action] = [PublishRoutes()]
        for each in list(app.deployments.values()):
            each.deleted, each.wanted = True, 0
            actions += self._reconcile(each, now)
            actions.append(Publish(name, each.name))
        return [*actions, Save()]

    def _scale(self, event: Scale, now: float) -> list[Action]:
        app = self.apps.get(event.app)
        deployment = app.deployments.get(event.deployment) if app is not None else None
        if deployment is None or deployment.deleted or deployment.wanted == event.replicas:
            return []
        size = size_of(deployment.target)
        wanted = -(-event.replicas // size) * size
        if wanted == deployment.wanted:
            return []
        deployment.trigger = "UPSCALE" if wanted > deployment.wanted else "DOWNSCALE"
        deployment.wanted = wanted
        return [*self._reconcile(deployment, now), Save()]

    # What happens to replicas

    def _started(self, deployment: DeploymentState, replica: ReplicaState, now: float) -> list[Action]:
        if replica.state != STARTING:
            return []
        replica.state = RUNNING
        if replica.spec.version == deployment.target.version:
            deployment.failures = 0
            deployment.message = ""
        actions: list[Action] = [Publish(deployment.app, deployment.name), Save()]
        active = deployment.active
        if active is not None and replica.spec != active and replica.spec.version == active.version:
            actions.append(Reconfigure(replica.replica_id, deployment.app, deployment.name, active))
            replica.spec = active
        return [*actions, *self._reconcile(deployment, now)]

    def _failed(
        self, deployment: DeploymentState, replica: ReplicaState, event: Failed, now: float
    ) -> list[Action]:
        if replica.state == STOPPING:
            return []
        actions = self._stop_broken(deployment, replica)
        if deployment.deleted or replica.spec.version != deployment.target.version:
            return [*actions, *self._reconcile(deployment, now)]
        deployment.failures += 1
        deployment.message = event.why
        bound = min(
            deployment.target.options.max_constructor_retry_count, _FAILURES * max(1, deployment.wanted)
        )
        deployment.next_try = now + min(2.0 ** (deployment.failures - 1) * 0.1, _MOST_BACKOFF_SECONDS)
        serves = any(each.spec.version == deployment.target.version for each in deployment.of(RUNNING))
        if event.fatal or (deployment.failures >= bound and not serves):
            deployment.failed = True
            for each in deployment.of(STARTING):
                actions += self._stop(deployment, each, now=True)
            app = self.apps[deployment.app]
            if deployment.stable is not None:
                deployment.message += "\nThe version before it goes on."
            if app.routed is not None:
                actions += self._routes(app)
        return [*actions, *self._reconcile(deployment, now)]

    def _died(self, deployment: DeploymentState, replica: ReplicaState, why: str, now: float) -> list[Action]:
        if replica.state == STOPPING:
            return self._forget(deployment, replica, now)
        if replica.state == STARTING:
            return self._failed(deployment, replica, Failed(replica.replica_id, why), now)
        deployment.trigger = "DIED"
        deployment.message = f"replica {replica.replica_id.rpartition('#')[2]} died: {why}"
        actions = self._stop_broken(deployment, replica)
        return [*actions, *self._reconcile(deployment, now)]

    def _stop_broken(self, deployment: DeploymentState, replica: ReplicaState) -> list[Action]:
        """End a replica that does not work, and those that cannot do without it."""
        actions = self._stop(deployment, replica, now=True)
        for each in broken_with(replica, deployment.replicas.values()):
            if each.state != STOPPING:
                actions += self._stop(deployment, each, now=True)
        return actions

    def _forget(self, deployment: DeploymentState, replica: ReplicaState, now: float) -> list[Action]:
        deployment.replicas.pop(replica.replica_id, None)
        self._where.pop(replica.replica_id, None)
        actions = self._reconcile(deployment, now)
        app = self.apps.get(deployment.app)
        if app is None:
            return actions
        if deployment.deleted and not deployment.replicas:
            app.deployments.pop(deployment.name, None)
            actions.append(Publish(deployment.app, deployment.name))
        if app.deleting and not app.deployments:
            del self.apps[deployment.app]
            actions.append(Save())
        return actions

    # From wanted to done

    def _reconcile(self, deployment: DeploymentState, now: float) -> list[Action]:
        """Return what brings a deployment nearer to what is wanted."""
        actions: list[Action] = []
        app = self.apps.get(deployment.app)
        if deployment.deleted:
            for each in [one for one in deployment.replicas.values() if one.state != STOPPING]:
                actions += self._stop(deployment, each)
            if not deployment.replicas and app is not None:
                app.deployments.pop(deployment.name, None)
                if app.deleting and not app.deployments:
                    self.apps.pop(deployment.app, None)
                    actions.append(Save())
            return actions
        active = deployment.active
        if active is None:
            return actions
        alive = [each for each in deployment.replicas.values() if each.state != STOPPING]
        mine = [each for each in alive if each.spec.version == active.version]
        others = [each for each in alive if each.spec.version != active.version]
        wanted = deployment.wanted
        serving = [each for each in mine if each.state == RUNNING]
        # Others than the active version go as fast as that comes up.
        size = size_of(active)
        older = as_gangs([each for each in others if each.state == RUNNING])
        surplus = len(older) - max(0, wanted - len(serving))
        for each in [one for one in others if one.state == STARTING]:
            actions += self._stop(deployment, each, now=True)
        for each in older[: max(0, surplus - surplus % size_of(older[0].spec)) if older else 0]:
            actions += self._stop(deployment, each)
        others = [each for each in older if each.state == RUNNING]
        begun = [each for each in mine if each.state == STARTING]
        waiting = [each for each in begun if not each.placed and now - each.since > PATIENCE_SECONDS]
        ending = deployment.of(STOPPING)
        # Start what is missing; beside an older version a few at a time.
        surge = -(-math.ceil(wanted * active.options.max_surge_percent / 100) // size) * size
        batch = max(size, math.floor(wanted * active.options.rolling_update_percentage / 100) // size * size)
        missing = wanted - len(mine)
        if others and not ending and not deployment.failed:
            if waiting and (len(others) + len(serving) > size or wanted == size):
                actions += self._stop_some(deployment, others, size_of(others[0].spec))
            elif not surge and missing > 0 and not begun and now >= deployment.next_try:
                actions += self._stop_some(deployment, others, min(batch, missing))
        others = [each for each in others if each.state == RUNNING]
        ending = deployment.of(STOPPING)
        room = (
            min(missing, wanted + surge - len(mine) - len(others) - (len(ending) if not surge else 0))
            if others or (ending and not surge)
            else missing
        )
        if others:
            room = min(room, batch - len(begun))
        if now >= deployment.next_try or deployment.failed:
            actions += self._start_some(deployment, active, room, mine, now)
        if len(mine) > wanted:
            order = sorted(mine, key=lambda each: (each.state == RUNNING, each.placed, -each.since))
            order = as_gangs(order)
            for each in order[: len(mine) - wanted]:
                actions += self._stop(deployment, each)
        if len(serving) >= wanted and not others and not deployment.failed:
            deployment.stable = deployment.target
            if not deployment.of(STARTING):
                deployment.trigger = (
                    "CONFIG_UPDATE_COMPLETED" if deployment.trigger == "CONFIG_UPDATE_STARTED" else ""
                )
                deployment.message = ""
        if app is not None and app.routed is None and not app.deleting:
            actions += self._routes(app)
        return actions

    def _start_some(
        self,
        deployment: DeploymentState,
        spec: DeploymentSpec,
        room: int,
        mine: list[ReplicaState],
        now: float,
    ) -> list[Action]:
        """Start so many replicas; in gangs, the empty seats first and then whole ones."""
        size = size_of(spec)
        actions: list[Action] = []
        if spec.options.gang_scheduling_config is None:
            for _ in range(room):
                actions += self._start(deployment, self._name(deployment), spec, None, now)
            return actions
        for seat in empty_seats(mine)[: max(0, room)]:
            room -= 1
            actions += self._start(deployment, self._name(deployment), spec, seat, now)
        for _ in range(max(0, room) // size):
            names = [self._name(deployment) for _ in range(size)]
            for name, seat in zip(names, new_gang(self._new_id(), names), strict=True):
                actions += self._start(deployment, name, spec, seat, now)
        return actions

    def _name(self, deployment: DeploymentState) -> str:
        return f"{key_of(deployment.app, deployment.name)}#{self._new_id()}"

    def _start(
        self,
        deployment: DeploymentState,
        replica_id: str,
        spec: DeploymentSpec,
        seat: GangContext | None,
        now: float,
    ) -> list[Action]:
        deployment.replicas[replica_id] = ReplicaState(replica_id, spec, now, seat=seat)
        self._where[replica_id] = deployment
        app = self.apps[deployment.app].spec
        routed = app.route_prefix is not None and app.ingress == deployment.name
        return [Start(replica_id, deployment.app, deployment.name, spec, seat, routed), Save()]

    def _stop_some(
        self, deployment: DeploymentState, replicas: list[ReplicaState], count: int
    ) -> list[Action]:
        actions: list[Action] = []
        for each in as_gangs(replicas)[:count]:
            actions += self._stop(deployment, each)
        return actions

    def _stop(self, deployment: DeploymentState, replica: ReplicaState, now: bool = False) -> list[Action]:
        served = replica.state == RUNNING
        unborn = replica.state == STARTING
        replica.state = STOPPING
        told: list[Action] = [Publish(deployment.app, deployment.name)] if served else []
        patience = replica.spec.options.graceful_shutdown_timeout_s
        return [
            *told,
            Stop(
                replica.replica_id,
                deployment.app,
                deployment.name,
                0.0 if now or unborn else patience,
                now or unborn,
            ),
        ]

    def _routes(self, app: ApplicationState) -> list[Action]:
        """Tell proxies of an application once its ingress can answer, and keep the old route while it cannot."""
        ingress = app.deployments.get(app.spec.ingress)
        if ingress is None or app.deleting:
            return []
        ready = any(each.spec.version == ingress.target.version for each in ingress.of(RUNNING))
        if app.routed != app.spec and (ready or ingress.wanted == 0):
            app.routed = app.spec
            return [PublishRoutes()]
        return []

    # Asked by the shell

    def running(self, app: str, name: str) -> list[ReplicaState]:
        """Return the replicas that take requests."""
        found = self.apps.get(app)
        deployment = found.deployments.get(name) if found is not None else None
        return deployment.of(RUNNING) if deployment is not None else []

    def adopt(self, app: ApplicationState) -> None:
        """Take over an application with its replicas, from what a controller before this one wrote down."""
        self.apps[app.spec.name] = app
        for each in app.deployments.values():
            for replica in each.replicas:
                self._where[replica] = each
