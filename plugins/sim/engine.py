"""The `sim` engine: a program runs on a virtual cluster, in virtual time, with the faults that it asks for."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.config import Config
from shoal.errors import ConfigError, describe
from shoal.ids import NodeID
from shoal.inline.actors import Actors
from shoal.inline.engine import InlineEngine
from shoal.inline.node import Group
from shoal.inline.tasks import check_environment
from shoal.interfaces.refs import ObjectRef
from shoal.registry.drivers import load_driver
from shoal.registry.groups import SCHEDULERS
from shoal.serial import dumps
from shoal.sim.core import Located, SimCore
from shoal.sim.faults import Fault, parse_faults
from shoal.sim.nodes import SpreadGroup, VirtualCluster
from shoal.sim.running import LATENCY, SimActors, SimTasks
from shoal.sim.world import World

_PLAYABLE = ("kill_node",)
_TICK = 0.02  # seconds of real time between two tries to move the world for a future


def _whole(least: int) -> Any:
    def check(options: object, field: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"{field.name} of the engine 'sim' must be a whole number ≥ {least}, got {describe(value)}"
            )

    return check


def _number(above: float, optional: bool = False) -> Any:
    def check(options: object, field: attrs.Attribute[Any], value: Any) -> None:
        if optional and value is None:
            return
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= above:
            raise ConfigError(
                f"{field.name} of the engine 'sim' must be a number ≥ {above:g}, got {describe(value)}"
            )

    return check


def _durations(options: object, field: attrs.Attribute[Any], value: Any) -> None:
    given = value if isinstance(value, Mapping) else {"": value}
    for name, seconds in given.items():
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e12:
            raise ConfigError(
                f"task_seconds of the engine 'sim' must be a number ≥ 0, or a mapping from names of tasks and "
                f"'Class.method' to such numbers, got {describe(seconds)}{f' for {name!r}' if name else ''}"
            )


class SimEngine(InlineEngine):
    """Executes tasks and actors in this process, one at a time, as if they ran on many nodes.

    What they compute is real; when and where is virtual: durations, transfers and node deaths are events of a seeded
    world, which moves while the program waits in get(), wait() and the like. Tasks on a node that dies are retried,
    actors restart elsewhere, lost objects are made again, all as documented for real clusters. Coroutine methods and
    streaming generators take no virtual time.
    """

    name: ClassVar[str] = "sim"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {
            "async_actors",
            "clean_close",
            "device_objects",
            "durable_actors",
            "ordered_async",
            "placement_groups",
            "stream_errors",
            "streaming",
        }
    )

    @attrs.frozen(kw_only=True)
    class Options:
        """What `engine_options` may say.

        `seed` of all chance. `nodes`, each with `cpus` (None: num_cpus of the session). `task_seconds` that each task
        and call takes, or a mapping from names ("f", "Class.method") to seconds. `bandwidth` in bytes a second into a
        node. `faults`, a list such as `[{"kind": "kill_node", "node": 1, "at": 2.5, "seconds": 10}]`.
        `quiet_seconds` of real time without a call after which the world moves by itself (0: never).
        """

        seed: int = attrs.field(default=0, validator=_whole(0))
        nodes: int = attrs.field(default=1, validator=_whole(1))
        cpus: float | None = attrs.field(default=None, validator=_number(0, optional=True))
        task_seconds: float | Mapping[str, float] = attrs.field(default=0.001, validator=_durations)
        bandwidth: float = attrs.field(default=1.25e9, validator=_number(1))
        faults: Sequence[Any] = attrs.field(default=())
        quiet_seconds: float = attrs.field(default=0.25, validator=_number(0))

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        options = self.Options(**config.engine_options)
        faults = _playable(parse_faults(options.faults, options.nodes))
        scheduler = load_driver(SCHEDULERS, config.scheduler, config.scheduler_options)(
            config.scheduler_options
        )
        self.world: World = World(options.seed, keep_trace=True)
        cluster = VirtualCluster(config, scheduler, options.seed, options.nodes, options.cpus)
        self._sim = SimCore(self, config, scheduler, self.world, cluster)
        self._sim.bandwidth = options.bandwidth
        self._core = self._sim
        self._sim_tasks = SimTasks(self._sim, options.task_seconds)
        self._tasks = self._sim_tasks
        self._sim_actors = SimActors(self._sim, self._sim_tasks)
        self._actors: Actors = self._sim_actors
        for fault in faults:
            self.world.at(fault.at, self._kill, fault)
        self._quiet_seconds = options.quiet_seconds
        self._futures: set[concurrent.futures.Future[Any]] = (
            set()
        )  # that somebody waits for, by means of their own
        self._mover: threading.Thread | None = None
        self._stop = False
        self._wake = threading.Event()
        if options.quiet_seconds:
            self._start_mover()

    # Life

    @classmethod
    def start(cls, config: Config) -> SimEngine:
        if config.address is not None:
            raise ConfigError(
                f"address={config.address!r}: the sim engine joins no cluster; leave the address out"
            )
        check_environment(config.runtime_env)
        return cls(config)

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        self._stop = True
        self._wake.set()
        if self._mover is not None and self._mover is not threading.current_thread():
            self._mover.join()
        self._sim.end()

    def _begin(self, refs: Sequence[ObjectRef[Any]] = ()) -> None:
        super()._begin(refs)
        self._sim.called = time.monotonic()

    def _start_mover(self) -> None:
        if self._mover is None:
            self._mover = threading.Thread(target=self._move_alone, name="shoal-sim-mover", daemon=True)
            self._mover.start()

    def _move_alone(self) -> None:
        """A program may wait by other means than ours, for a file or for a future: the world moves on then too."""
        core, quiet = self._sim, self._quiet_seconds
        while not self._stop:
            self._wake.wait(_TICK if self._futures else quiet / 4 if quiet else None)
            self._wake.clear()
            if self._futures or (quiet and time.monotonic() - core.called >= quiet):
                core.pump_while_quiet()

    def future(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        future = super().future(ref)
        if not future.done():
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
            self._start_mover()
            self._wake.set()
        return future

    # Faults

    def _kill(self, fault: Fault) -> None:
        core, cluster = self._sim, self._sim.cluster
        assert fault.node is not None
        node_id: NodeID = cluster.ids[fault.node]
        if not cluster.is_alive(node_id):
            return
        self.world.note("kill_node", fault.node)
        runs = [run for run in core.runs.values() if run.node_id == node_id]
        with core.lock:
            hurt = cluster.kill(node_id)
        dying = set(map(id, runs))
        core.stage.interrupt(lambda place: id(place) in dying)
        self._sim_actors.node_died(node_id, runs)
        self._sim_tasks.node_died(node_id, runs)
        self._sim_tasks.rebuild(node_id)
        for group in hurt:
            self._mend(group)
        if fault.seconds:
            self.world.after(fault.seconds, self._revive, node_id)
        core.room_changed()

    def _revive(self, node_id: NodeID) -> None:
        self.world.note("revive", self._sim.cluster.number(node_id))
        with self._sim.lock:
            self._sim.cluster.revive(node_id)
        self._sim.room_changed()

    def _mend(self, group: Group) -> None:
        core = self._sim
        assert isinstance(group, SpreadGroup)
        if group.state != "RESCHEDULING":
            return
        with core.lock:
            whole = core.cluster.mend(group)
        if not whole:
            core.when_room(lambda: self._mend(group))

    # What differs from the engine that has no time

    def put(self, value: Any) -> ObjectRef[Any]:
        self._begin()
        result = Located(self._sim.new_task_id() + bytes(4))
        self._sim.put(result, dumps(value))
        return self._sim.ref(result)

    def statistics(self) -> dict[str, float]:
        """Return what the world did so far: virtual seconds, events, bytes moved between nodes, retries."""
        core = self._sim
        return {
            "seconds": self.world.now,
            "events": self.world.happened,
            "bytes_moved": core.bytes_moved,
            "retries": core.retries,
        }


def _playable(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    for fault in faults:
        if fault.kind not in _PLAYABLE:
            raise ConfigError(
                f"the engine 'sim' knows the fault {', '.join(_PLAYABLE)} only, got {fault.kind!r}; "
                "the others are faults of the simulated cluster (see docs/simulation.md)"
            )
        if fault.node == 0:
            raise ConfigError(
                "node 0 is where the program itself runs: it cannot be killed; name another node"
            )
    return faults


__all__ = ["LATENCY", "SimEngine"]
