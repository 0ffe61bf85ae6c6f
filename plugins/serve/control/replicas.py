"""The actors of replicas: how they are made, watched and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs

import shoal
from shoal.errors import ActorError, ConfigError, NotSerializable, RuntimeEnvSetup, ShoalError
from shoal.serve.companions import end_companions, start_companions
from shoal.serve.config import HTTPOptions
from shoal.serve.context import ReplicaID
from shoal.serve.control.events import Died, Event, Failed, Placed, Reconfigure, Start, Started, Stop, Stopped
from shoal.serve.control.machine import ReplicaState
from shoal.serve.control.news import News
from shoal.serve.control.placing import create, group_of, ranks_of
from shoal.serve.deployment import DeploymentOptions
from shoal.serve.gang import GangContext
from shoal.serve.logs import LoggingConfig
from shoal.serve.messages import NAMESPACE, DeploymentSpec, ReplicaSetup
from shoal.serve.tracing import TracingConfig

_log = logging.getLogger("shoal.serve")
_START_SECONDS = 1800.0  # for a constructor: models are large
_HEARD_SECONDS = 5.0
_FINISH_SECONDS = 10.0
_UNHEALTHY = 3  # failed checks in a row


@attrs.define(eq=False)
class _Held:
    """One replica's actor and what is known of it."""

    actor: Any
    options: DeploymentOptions
    group: Any = None
    node_id: str = ""
    pid: int = 0
    since: float = attrs.field(factory=time.time)
    told: dict[str, Any] = attrs.field(factory=dict)
    told_at: float = 0.0
    rank: int = 0
    gang: str = ""
    stats: dict[str, Any] = attrs.field(factory=dict)
    version: str = ""


async def answer_of(ref: Any, seconds: float | None = None) -> Any:
    """Wait for a reference within a bound. Raises asyncio.TimeoutError."""

    async def wait() -> Any:
        return await ref

    return await asyncio.wait_for(wait(), seconds)


class Replicas:
    """All replicas of this controller, by name."""

    def __init__(
        self,
        happened: Callable[[Event], None],
        news: News,
        logging: LoggingConfig | None = None,
        tracing: TracingConfig | None = None,
        restated: Callable[[str], None] = lambda name: None,
        http: HTTPOptions | None = None,
    ) -> None:
        self._http = http
        self._restated = restated
        self._logging = logging
        self._tracing = tracing
        self._gangs: dict[str, asyncio.Future[Any]] = {}  # placement groups
        self._happened = happened
        self._news = news
        self._held: dict[str, _Held] = {}
        self._watches: dict[str, list[asyncio.Task[Any]]] = {}
        self._waiting: set[str] = set()  # for a node that may have another replica

    def has(self, replica: str) -> bool:
        """Tell whether a replica's actor is known."""
        return replica in self._held

    def actor(self, replica: str) -> Any:
        """Return a replica's actor."""
        return self._held[replica].actor

    def node(self, replica: str) -> str:
        """Return the node that a replica is on."""
        return self._held[replica].node_id

    def routing(self, replica: str) -> dict[str, Any]:
        """Return what routers get to know of a replica: what it says for them."""
        return {"stats": self._held[replica].stats}

    def of(self, key: str) -> dict[str, _Held]:
        """Return the replicas of a deployment."""
        return {name: held for name, held in self._held.items() if name.rpartition("#")[0] == key}

    def details(self, key: str) -> list[dict[str, Any]]:
        """Return what is known of a deployment's replicas, in plain values."""
        return [
            {
                "replica_id": name,
                "node_id": held.node_id,
                "pid": held.pid,
                "actor_id": held.actor._shoal_info.actor_id.hex(),
                "started_at": held.since,
                "rank": held.rank,
                **held.told,
            }
            for name, held in self.of(key).items()
        ]

    async def start(self, action: Start) -> None:
        """Make a replica; what becomes of it is told as events."""
        name, options = action.replica, action.spec.options
        try:
            made = await self._place(name, action)
        except (ConfigError, NotSerializable, ValueError) as error:
            self._happened(Failed(name, str(error), fatal=True))
            return
        if made is None:  # it was given up while it waited for a node
            return
        actor, group = made
        held = self._held[name] = _Held(actor, options, group=group, version=action.spec.version)
        held.gang = action.seat.gang_id if action.seat is not None else ""
        taken = {each.rank for each in self.of(name.rpartition("#")[0]).values() if each is not held}
        held.rank = next(rank for rank in range(len(taken) + 1) if rank not in taken)
        setup = ReplicaSetup(
            logging=options.logging_config or self._logging,
            tracing=self._tracing,
            rank=held.rank,
            seat=action.seat,
            http=self._http if action.routed else None,
        )
        try:
            if options.deployment_actors:
                await asyncio.to_thread(
                    start_companions,
                    ReplicaID.from_full_id_str(name).deployment_id,
                    action.spec.version,
                    options.deployment_actors,
                )
            held.pid, held.node_id, _ = await answer_of(actor.place.remote())
            self._happened(Placed(name))
            await answer_of(actor.initialize.remote(options.user_config, setup), _START_SECONDS)
        except asyncio.TimeoutError:
            self._happened(Failed(name, f"the constructor did not return within {_START_SECONDS:g} s"))
        except (RuntimeEnvSetup, ConfigError) as error:
            self._happened(Failed(name, str(error), fatal=True))
        except Exception as error:  # the user's constructor may raise anything
            self._happened(Failed(name, f"{type(error).__name__}: {error}"))
        else:
            self._watch(name, held)
            self._happened(Started(name))

    async def _gang(self, spec: DeploymentSpec, seat: GangContext) -> Any:
        """Return the placement group of a gang, made by whichever member comes first."""
        there = self._gangs.get(seat.gang_id)
        if there is None:
            there = self._gangs[seat.gang_id] = asyncio.ensure_future(asyncio.to_thread(group_of, spec, seat))
        return await asyncio.shield(there)

    async def _place(self, name: str, action: Start) -> tuple[Any, Any] | None:
        key, spec, seat = name.rpartition("#")[0], action.spec, action.seat
        group = await self._gang(spec, seat) if seat is not None else None
        self._waiting.add(name)
        try:
            while name in self._waiting:
                made = await asyncio.to_thread(
                    create, name, spec, [held.node_id for held in self.of(key).values()], seat, group
                )
                if made is not None:
                    return made
                await asyncio.sleep(0.5)
            return None
        finally:
            self._waiting.discard(name)

    def _watch(self, name: str, held: _Held) -> None:
        loop = asyncio.get_running_loop()
        self._watches[name] = [
            loop.create_task(self._until_end(name, held)),
            loop.create_task(self._check(name, held)),
            loop.create_task(self._ask_for_routing(name, held)),
        ]

    async def _ask_for_routing(self, name: str, held: _Held) -> None:
        """Tell callers when what a replica says for routers has changed."""
        while True:
            config = held.options.request_router_config
            try:
                stats = await answer_of(
                    held.actor.routing_stats.remote(), config.request_routing_stats_timeout_s
                )
                if stats != held.stats:
                    held.stats = stats
                    self._restated(name)
            except ActorError:
                return  # another watch tells of that
            except Exception as error:  # the user's method may raise anything
                _log.warning("replica %s: record_routing_stats: %s: %s", name, type(error).__name__, error)
            await asyncio.sleep(config.request_routing_stats_period_s)

    async def _until_end(self, name: str, held: _Held) -> None:
        while True:
            try:
                await held.actor.until_end.remote()
                return
            except ActorError as error:
                self._happened(Died(name, str(error)))
                return
            except ShoalError as error:
                _log.info("replica %s: %s", name, error)
                await asyncio.sleep(0.5)

    async def _check(self, name: str, held: _Held) -> None:
        failed = 0
        while True:
            await asyncio.sleep(held.options.health_check_period_s)
            try:
                held.told = await answer_of(
                    held.actor.check_health.remote(), held.options.health_check_timeout_s
                )
                held.told_at = time.monotonic()
                failed = 0
            except ActorError:
                return  # the other watch tells of that
            except asyncio.TimeoutError:
                failed += 1
                why = f"check_health did not return within {held.options.health_check_timeout_s:g} s"
            except Exception as error:  # the user's check may raise anything
                failed += 1
                why = f"check_health raised {type(error).__name__}: {error}"
            if failed >= _UNHEALTHY:
                self._happened(Died(name, why))
                return

    async def reconfigure(self, action: Reconfigure) -> None:
        """Give a replica its new configuration; one that cannot take it has failed."""
        held = self._held.get(action.replica)
        if held is None:
            return
        options = action.spec.options
        held.options = options
        try:
            await answer_of(
                held.actor.reconfigure.remote(options.user_config, options.max_ongoing_requests),
                _START_SECONDS,
            )
        except ActorError:
            return
        except Exception as error:  # the user's method may raise anything
            self._happened(Died(action.replica, f"reconfigure raised {type(error).__name__}: {error}"))

    async def stop(self, action: Stop) -> None:
        """End a replica."""
        held = self._held.get(action.replica)
        self._waiting.discard(action.replica)
        for task in self._watches.pop(action.replica, ()):
            task.cancel()
        if held is not None:
            if not action.now:
                await self._news.heard(f"{action.app}#{action.deployment}", _HEARD_SECONDS)
                with contextlib.suppress(ShoalError, asyncio.TimeoutError):
                    await answer_of(held.actor.drain.remote(action.patience_s), action.patience_s + 5.0)
                with contextlib.suppress(Exception):  # what the user's __del__ raises
                    await answer_of(held.actor.finish.remote(), _FINISH_SECONDS)
            with contextlib.suppress(ShoalError):
                await asyncio.to_thread(shoal.kill, held.actor)
                if held.group is not None:
                    await asyncio.to_thread(shoal.remove_placement_group, held.group)
            self._held.pop(action.replica, None)
            await self._end_shared(action.replica, held)
        self._happened(Stopped(action.replica))

    async def _end_shared(self, name: str, held: _Held) -> None:
        """End what belongs to several replicas, after the last of them."""
        group = self._gangs.get(held.gang)
        if group is not None and not any(each.gang == held.gang for each in self._held.values()):
            del self._gangs[held.gang]
            with contextlib.suppress(ShoalError):
                await asyncio.to_thread(shoal.remove_placement_group, await group)
        alive = self.of(name.rpartition("#")[0]).values()
        if held.options.deployment_actors and not any(each.version == held.version for each in alive):
            with contextlib.suppress(ShoalError):
                await asyncio.to_thread(
                    end_companions,
                    ReplicaID.from_full_id_str(name).deployment_id,
                    held.version,
                    held.options.deployment_actors,
                )

    async def adopt(self, replica: ReplicaState, spawn: Callable[[Coroutine[Any, Any, Any]], None]) -> None:
        """Take over a replica that another controller has made, or say that it is gone."""
        name = replica.replica_id
        try:
            actor = await asyncio.to_thread(shoal.get_actor, name, NAMESPACE)
        except ValueError:
            spawn(self._gone(name))
            return
        held = self._held[name] = _Held(actor, replica.spec.options, version=replica.spec.version)
        if replica.seat is not None:
            held.gang = replica.seat.gang_id
            self._gangs.setdefault(
                held.gang,
                asyncio.ensure_future(asyncio.to_thread(shoal.get_placement_group, replica.seat.pg_name)),
            )
        try:
            held.pid, held.node_id, ready = await answer_of(actor.place.remote(), 10.0)
        except (ShoalError, asyncio.TimeoutError) as error:
            spawn(self._gone(name, str(error)))
            return
        if not ready or replica.state == "STOPPING":  # nobody waits for its constructor, or its end
            spawn(self._gone(name))
            return
        self._watch(name, held)
        replica.state = "RUNNING"

    async def _gone(self, name: str, why: str = "it was not there when the controller came back") -> None:
        self._happened(Died(name, why))

    def tell_world(self, key: str, running: Sequence[str]) -> None:
        """Tell a deployment's replicas how many they are, and each its rank."""
        there = self.of(key)
        names = [name for name in running if name in there]
        ranks = ranks_of(
            names,
            {name: held.node_id for name, held in there.items()},
            {name: held.rank for name, held in there.items()},
        )
        for name, rank in ranks.items():
            there[name].rank = rank.rank
            there[name].actor.set_world.remote(len(names), rank)

    async def kill_all(self) -> None:
        """End what is left at once."""
        for name, held in list(self._held.items()):
            for task in self._watches.pop(name, ()):
                task.cancel()
            with contextlib.suppress(ShoalError):
                await asyncio.to_thread(shoal.kill, held.actor)
            self._held.pop(name, None)
            await self._end_shared(name, held)
