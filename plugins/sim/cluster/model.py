"""A whole cluster from a seed: build it, let faults happen, and judge what came of it."""

from __future__ import annotations

import random
from collections.abc import Mapping

import attrs

from shoal.interfaces.scheduler import Scheduler
from shoal.registry.drivers import load_driver
from shoal.registry.groups import SCHEDULERS
from shoal.sim.cluster.daemon import Daemon
from shoal.sim.cluster.driver import Driver
from shoal.sim.cluster.head import Head
from shoal.sim.cluster.truth import Truth
from shoal.sim.cluster.work import Work, random_work
from shoal.sim.faults import Fault, random_faults
from shoal.sim.network import Network, Weather
from shoal.sim.process import Machine
from shoal.sim.world import World

LIMIT = 600.0  # seconds of virtual time in which everything must have ended
QUIET = 60.0  # seconds after the end in which nothing may be left over
_MAX_EVENTS = 2_000_000


@attrs.frozen(kw_only=True)
class Setup:
    """What a simulated cluster is made of."""

    seed: int
    nodes: int = 4
    cpus: float = 2.0
    scheduler: str = "hybrid"
    weather: Weather = attrs.field(factory=Weather)
    faults: tuple[Fault, ...] = ()
    works: tuple[Work, ...] = ()
    skew: float = 0.0  # clocks are off by up to so many seconds
    drift: float = 0.0  # and fast or slow by up to this share


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one run."""

    seed: int
    digest: str  # of the trace: equal for equal runs
    seconds: float  # of virtual time, until all had ended
    events: int
    executions: int
    outcomes: Mapping[str, str]  # task or call → how it ended
    story: str  # the last lines of the trace


class Broken(AssertionError):
    """A run broke a rule. The message has the seed, what is wrong, and the last of what happened."""


class ClusterModel:
    """The processes of one cluster, on one network, in one world."""

    def __init__(self, setup: Setup, keep_trace: bool = False) -> None:
        self.setup = setup
        self.world: World = World(setup.seed, keep_trace)
        self.network: Network = Network(self.world, setup.weather)
        self.truth: Truth = Truth()
        clocks = self.world.chance("clocks")

        def machine(name: str) -> Machine:
            offset = clocks.uniform(-setup.skew, setup.skew)
            return Machine(name, offset, clocks.uniform(-setup.drift, setup.drift))

        self.head: Head = Head(self.network, machine("head"), self._scheduler())
        self.daemons: list[Daemon] = [
            Daemon(self.network, machine(f"node-{number}"), setup.cpus, self._scheduler(), self.truth)
            for number in range(setup.nodes)
        ]
        names = [daemon.name for daemon in self.daemons]
        self.drivers: list[Driver] = [
            Driver(self.network, machine(f"driver-{number}"), work, names, self.truth)
            for number, work in enumerate(setup.works)
        ]

    def _scheduler(self) -> Scheduler:
        return load_driver(SCHEDULERS, self.setup.scheduler)()

    # Faults

    def _plan(self) -> None:
        for fault in self.setup.faults:
            self.world.at(fault.at, self._happen, fault)

    def _happen(self, fault: Fault) -> None:
        world = self.world
        world.note("fault", fault.kind, fault.node, fault.seconds)
        if fault.kind == "kill_head":
            if self.head.alive:
                self.head.crash()
                world.after(max(fault.seconds, 0.1), self.head.begin)
            return
        assert fault.node is not None
        daemon = self.daemons[fault.node]
        if fault.kind == "kill_node":
            if daemon.computer.alive:
                daemon.computer.alive = False
                daemon.crash(with_machine=True)
                if fault.seconds:
                    world.after(fault.seconds, self._revive, daemon)
        elif fault.kind == "kill_worker":
            living = [worker for worker in daemon.workers.values() if worker.alive]
            if living:
                world.chance("victims").choice(living).crash()
        elif fault.kind == "partition":
            cut = frozenset([daemon.machine])
            rest = frozenset(
                [each.machine for each in self.daemons if each is not daemon]
                + [self.head.machine]
                + [driver.machine for driver in self.drivers]
            )
            self.network.cut(cut, rest)
            world.after(fault.seconds, self.network.heal, cut, rest)
        else:
            self.network.slow(daemon.machine, fault.factor)
            world.after(fault.seconds, self.network.slow, daemon.machine, 1.0)

    def _revive(self, daemon: Daemon) -> None:
        daemon.computer.alive = True
        daemon.begin()

    # Running

    def run(self) -> Outcome:
        """Let the drivers do their work, and check every rule. Raises Broken."""
        world = self.world
        try:
            self._plan()
            self.head.begin()
            for process in [*self.daemons, *self.drivers]:
                process.begin()
            ended = world.run_until(self._finished, LIMIT)
            seconds = world.now
            if not ended:
                left = [text for driver in self.drivers for text in driver.unfinished()]
                raise AssertionError(f"after {LIMIT:g} s these have not ended: {'; '.join(left)}")
            last = max([fault.at + fault.seconds for fault in self.setup.faults], default=0.0)
            world.run(max(world.now, last) + QUIET, events=_MAX_EVENTS)
            self.check()
        except AssertionError as error:
            raise Broken(
                f"seed {self.setup.seed}: {error}\nthe last that happened:\n{world.trace.last()}"
            ) from error
        return Outcome(
            seed=self.setup.seed,
            digest=world.trace.digest(),
            seconds=seconds,
            events=world.happened,
            executions=sum(self.truth.executions.values()),
            outcomes=dict(self.truth.outcomes),
            story=world.trace.last(),
        )

    def _finished(self) -> bool:
        return all(driver.finished() for driver in self.drivers)

    def check(self) -> None:
        """Raise AssertionError if something ended twice, ran too often, or was left over."""
        assert not self.truth.wrongs, "; ".join(self.truth.wrongs)
        for work in self.setup.works:
            for name, most in work.allowed().items():
                assert self.truth.endings[name] == 1, f"{name} ended {self.truth.endings[name]} times"
                ran = self.truth.executions[name]
                assert ran <= most, f"{name} was executed {ran} times, {most} are allowed"
        assert not self.truth.living_actors(), f"actors live on: {self.truth.living_actors()}"
        for daemon in self.daemons:
            if daemon.alive:
                daemon.book.validate()
                assert not daemon.book.leases, f"{daemon.name} has leases left: {dict(daemon.book.leases)}"
                assert not daemon.book.wants, f"{daemon.name} has wants left: {daemon.book.wants}"
                assert daemon.book.available == daemon.total, (
                    f"{daemon.name} has {daemon.book.available} free"
                )
                assert not daemon.workers, f"{daemon.name} has workers left: {sorted(daemon.workers)}"
        self.head.directory.validate()
        self.head.groups.validate()
        self.head.members.validate()
        assert not self.head.groups.living(), "groups live on"


def setup_of(seed: int) -> Setup:
    """Return the cluster, the weather, the faults and the work that a seed stands for."""
    chance = random.Random(f"setup/{seed}")
    nodes = chance.randint(2, 6)
    rough = chance.random() < 0.5
    return Setup(
        seed=seed,
        nodes=nodes,
        cpus=float(chance.choice((2, 4))),
        scheduler=chance.choice(("hybrid", "binpack", "spread", "locality")),
        weather=Weather(
            jitter=chance.choice((0.001, 0.05)),
            loss=0.02 if rough else 0.0,
            breaks=chance.choice((0.0, 0.002, 0.01)) if rough else 0.0,
        ),
        faults=random_faults(chance, nodes, 15.0, chance.choice((0, 1, 3, 6))),
        works=tuple(random_work(chance, f"{number}:") for number in range(chance.randint(1, 2))),
        skew=chance.choice((0.0, 30.0)),
        drift=chance.choice((0.0, 0.02)),
    )
