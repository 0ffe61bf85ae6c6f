"""A day of load in virtual time: what each policy costs, and how long work waits under it.

python -m shoal.autoscaler.simulate [--policy demand --policy headroom …] [--cluster cluster.toml] [--json]

The autoscaler is the real one; machines, work and the clock are virtual. Work goes to the first machine with room, in
the order it came. The load has a quiet night and a busy day of short tasks, a batch at each full hour, and now and then
an hour of training that needs a GPU.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import attrs

from shoal.autoscaler.machine import Autoscaler, Drain, Effect, Launch, Terminate
from shoal.autoscaler.spec import ClusterSpec, cluster_of, read_cluster
from shoal.errors import ShoalError
from shoal.interfaces.nodes import PENDING, RUNNING, Machine, machine_name
from shoal.interfaces.scaling import Need, ScalingNode, ScalingPolicy, ScalingView
from shoal.observe.render import table
from shoal.scaling import load_policy
from shoal.sim.world import World
from shoal.spec.resources import ResourceSet

DAY = 86_400.0
POLICIES = ("demand", "patient", "headroom")
_CLUSTER: dict[str, Any] = {
    "name": "simulated",
    "provider": {"kind": "virtual"},
    "max_machines": 40,
    "idle_seconds": 300,
    "node_types": {
        "cpu": {"resources": {"CPU": 8}, "max": 40, "cost": 0.4},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max": 8, "cost": 3.0},
    },
}


@attrs.frozen(kw_only=True)
class Work:
    """One task: what it takes, how long, and when it comes."""

    arrives: float
    resources: ResourceSet
    seconds: float


@attrs.frozen(kw_only=True)
class Outcome:
    """What a day was like under one policy. Waits are in seconds."""

    policy: str
    cost: float
    machine_hours: float
    used_share: float  # of the CPU-hours that were paid for
    mean_wait: float
    wait_95: float
    longest_wait: float
    peak: int  # machines at once
    tasks: int
    unfinished: int


def a_day(world: World, busy: float = 1.0) -> list[Work]:
    """Return the load of a day, in the order it comes; `busy` scales how much there is."""
    chance = world.chance("load")
    small, middle, training = ResourceSet.of(CPU=1), ResourceSet.of(CPU=2), ResourceSet.of(CPU=4, GPU=1)
    found: list[Work] = []
    now = 0.0
    while True:
        # A wave over the day: nearly nothing at 4 o'clock, most at 16.
        rate = busy * (0.02 + 0.5 * max(0.0, math.sin((now / DAY - 10 / 24) * 2 * math.pi) + 0.6))
        now += chance.expovariate(rate)
        if now >= DAY:
            break
        found.append(Work(arrives=now, resources=small, seconds=chance.lognormvariate(3.4, 0.8)))
    for hour in range(24):
        for _ in range(int(60 * busy)):
            seconds = chance.uniform(120, 420)
            found.append(Work(arrives=hour * 3600.0, resources=middle, seconds=seconds))
    for _ in range(int(12 * busy)):
        found.append(Work(arrives=chance.uniform(0, DAY), resources=training, seconds=3600.0))
    return sorted(found, key=lambda work: work.arrives)


class _VirtualMachine:
    """A machine that boots, runs work, and is paid for from its launch to its end."""

    def __init__(self, machine_id: str, node_type: str, total: ResourceSet, launched: float) -> None:
        self.machine_id = machine_id
        self.node_type = node_type
        self.total = total
        self.free = total
        self.launched = launched
        self.up = False
        self.draining = False
        self.version = 0


class Simulation:
    """A cluster under a policy, in virtual time. `run` is the day."""

    def __init__(
        self,
        world: World,
        spec: ClusterSpec,
        policy: ScalingPolicy,
        load: Sequence[Work],
        boot_seconds: float,
    ) -> None:
        self._world = world
        self._spec = spec
        self._policy = policy
        self._load = load
        self._boot = boot_seconds
        self._scaler = Autoscaler(spec, policy, "s")
        self._machines: dict[str, _VirtualMachine] = {}
        self._queue: list[Work] = []
        self._waits: list[float] = []
        self._done = 0
        self._cost = 0.0
        self._seconds = 0.0
        self._paid_cpu = 0.0
        self._used_cpu = 0.0
        self._peak = 0

    def run(self, interval: float = 10.0) -> Outcome:
        """Let the day pass, and then all that is left of its work; return what it was like."""
        world = self._world
        for work in self._load:
            world.at(work.arrives, self._arrive, work)
        end = DAY + 6 * 3600
        for step in range(int(end / interval)):
            world.at(step * interval, self._step)
        world.run_until(lambda: world.now >= DAY and self._done == len(self._load), end)
        self._end_all()
        waits = sorted(self._waits) or [0.0]
        return Outcome(
            policy=self._policy.name,
            cost=self._cost,
            machine_hours=self._seconds / 3600,
            used_share=self._used_cpu / self._paid_cpu if self._paid_cpu else 0.0,
            mean_wait=sum(waits) / len(waits),
            wait_95=waits[min(len(waits) - 1, int(0.95 * len(waits)))],
            longest_wait=waits[-1],
            peak=self._peak,
            tasks=len(self._load),
            unfinished=len(self._load) - self._done,
        )

    def _arrive(self, work: Work) -> None:
        self._queue.append(work)
        self._place()

    def _place(self) -> None:
        """Start what has room, in the order it came; work of a size of which one waits waits behind it."""
        waiting: list[Work] = []
        stuck: set[ResourceSet] = set()
        for work in self._queue:
            machine = None if work.resources in stuck else self._with_room(work.resources)
            if machine is None:
                stuck.add(work.resources)
                waiting.append(work)
            else:
                machine.free = machine.free - work.resources
                machine.version += 1
                self._waits.append(self._world.now - work.arrives)
                self._used_cpu += work.resources.get("CPU", 0.0) * work.seconds
                self._world.after(work.seconds, self._finish, machine, work)
        self._queue = waiting

    def _with_room(self, asked: ResourceSet) -> _VirtualMachine | None:
        fitting = [m for m in self._machines.values() if m.up and not m.draining and m.free.covers(asked)]
        # As the scheduler does: what needs no GPU goes elsewhere if it can; then the fullest, so that others can end.
        return min(
            fitting,
            key=lambda m: ("GPU" in m.total and "GPU" not in asked, m.free.get("CPU", 0.0), m.machine_id),
            default=None,
        )

    def _finish(self, machine: _VirtualMachine, work: Work) -> None:
        machine.free = machine.free + work.resources
        machine.version += 1
        self._done += 1
        self._place()

    def _step(self) -> None:
        effects = self._scaler.step(self._view(), self._listed(), self._world.now)
        for effect in effects:
            self._carry_out(effect)
        self._peak = max(self._peak, len(self._machines))

    def _view(self) -> ScalingView:
        counts: dict[ResourceSet, int] = {}
        for work in self._queue:
            counts[work.resources] = counts.get(work.resources, 0) + 1
        nodes = [
            ScalingNode(
                node_id=machine.machine_id,
                machine_id=machine.machine_id,
                node_type=machine.node_type,
                total=machine.total,
                available=machine.free,
                draining=machine.draining,
                version=machine.version,
            )
            for machine in self._machines.values()
            if machine.up
        ]
        needs = [Need(resources=resources, count=count, what="tasks") for resources, count in counts.items()]
        return ScalingView(nodes=nodes, needs=needs)

    def _listed(self) -> list[Machine]:
        return [
            Machine(machine_id=m.machine_id, node_type=m.node_type, state=RUNNING if m.up else PENDING)
            for m in self._machines.values()
        ]

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Launch):
            total = self._spec.types[effect.node_type].resources
            names = [machine_name(effect.key, index) for index in range(effect.count)]
            for name in names:
                self._machines[name] = _VirtualMachine(name, effect.node_type, total, self._world.now)
                # Some machines take longer than others.
                boot = self._boot * self._world.chance("boot").uniform(0.8, 1.4)
                self._world.after(boot, self._booted, name)
            made = [one for one in self._listed() if one.machine_id in names]
            self._scaler.launched(effect.key, made, self._world.now)
        elif isinstance(effect, Drain):
            self._machines[effect.machine_id].draining = True
        elif isinstance(effect, Terminate):
            for machine_id in effect.machine_ids:
                self._end(machine_id)

    def _booted(self, name: str) -> None:
        machine = self._machines.get(name)
        if machine is not None:
            machine.up = True
            self._place()

    def _end(self, machine_id: str) -> None:
        machine = self._machines.pop(machine_id, None)
        if machine is None:
            return
        seconds = self._world.now - machine.launched
        self._seconds += seconds
        self._cost += seconds / 3600 * self._spec.types[machine.node_type].cost
        self._paid_cpu += seconds * machine.total.get("CPU", 0.0)

    def _end_all(self) -> None:
        for machine_id in list(self._machines):
            self._end(machine_id)


def compare(
    spec: ClusterSpec, policies: Sequence[str], seed: int = 0, busy: float = 1.0, boot_seconds: float = 90.0
) -> list[Outcome]:
    """Return a day under each policy, and under `fixed`: as many machines as `demand` had at most, all day.

    The same seed gives the same load. Raises ConfigError, PluginNotFound.
    Example: `compare(read_cluster("cluster.toml"), ["demand", "headroom"])`.
    """
    found = []
    for name in policies:
        world = World(seed)
        load = a_day(world, busy)
        found.append(
            Simulation(world, spec, load_policy(name, _options(spec, name)), load, boot_seconds).run()
        )
    return [_fixed(spec, seed, busy, boot_seconds), *found]


def _options(spec: ClusterSpec, name: str) -> dict[str, Any]:
    return dict(spec.policy_options) if name == spec.policy else {}


def _fixed(spec: ClusterSpec, seed: int, busy: float, boot_seconds: float) -> Outcome:
    """Return the day on a cluster that never changes: for each type as many machines as its load needs at its peak."""
    world = World(seed)
    load = a_day(world, busy)
    always = _peak_of(spec, load)
    types = {
        name: attrs.evolve(one, least=always.get(name, 0), most=max(always.get(name, 0), 1))
        for name, one in spec.types.items()
    }
    total = max(1, sum(always.values()))
    fixed = attrs.evolve(spec, types=types, max_machines=total)
    outcome = Simulation(world, fixed, load_policy("demand"), load, boot_seconds).run()
    return attrs.evolve(outcome, policy="(fixed)")


def _peak_of(spec: ClusterSpec, load: Sequence[Work]) -> dict[str, int]:
    """Return how many machines of each type the load would use at its busiest if nothing ever waited."""
    from shoal.autoscaler.packing import pack

    ends: list[tuple[float, int, ResourceSet]] = []
    running: dict[ResourceSet, int] = {}
    numbers = itertools.count()
    peaks: dict[str, int] = {}
    most = 0.0
    types = list(spec.types.values())
    for work in load:
        while ends and ends[0][0] <= work.arrives:
            running[heapq.heappop(ends)[2]] -= 1
        running[work.resources] = running.get(work.resources, 0) + 1
        heapq.heappush(ends, (work.arrives + work.seconds, next(numbers), work.resources))
        asked = sum(count * one.get("CPU", 0.0) for one, count in running.items())
        gpus = running.get(work.resources, 0) if "GPU" in work.resources else 0
        if asked <= most and not gpus:
            continue
        most = max(most, asked)
        needs = [Need(resources=one, count=count) for one, count in running.items() if count]
        room = {one.name: one.most for one in types}
        for name, count in pack(needs, [], types, room, spec.max_machines).launch.items():
            peaks[name] = max(peaks.get(name, 0), count)
    over = sum(peaks.values()) - spec.max_machines
    for name in sorted(peaks, key=lambda name: -peaks[name]):
        cut = min(max(0, over), peaks[name] - 1)
        peaks[name] -= cut
        over -= cut
    return peaks


def as_text(outcomes: Sequence[Outcome]) -> str:
    """Return outcomes as a table for people."""
    rows = [
        [
            one.policy,
            f"{one.cost:,.0f}",
            f"{one.machine_hours:,.0f}",
            f"{one.used_share:.0%}",
            f"{one.mean_wait:.0f} s",
            f"{one.wait_95:.0f} s",
            f"{one.longest_wait:.0f} s",
            str(one.peak),
        ]
        for one in outcomes
    ]
    return table(
        ["policy", "cost", "machine-hours", "CPU used", "mean wait", "95 %", "longest", "peak"], rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m shoal.autoscaler.simulate", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--policy", action="append", default=[], metavar="NAME", help="may be repeated; default: all of ours"
    )
    parser.add_argument(
        "--cluster", metavar="FILE", help="node types, limits and times of this cluster instead"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the load")
    parser.add_argument("--busy", type=float, default=1.0, help="how much load there is (1)")
    parser.add_argument("--boot-seconds", type=float, default=90.0, help="from a launch to a node (90)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(arguments)
    if asked.busy <= 0 or asked.boot_seconds < 0:
        parser.error("--busy must be above 0, and --boot-seconds not below")
    try:
        spec = read_cluster(asked.cluster) if asked.cluster else cluster_of(_CLUSTER)
        outcomes = compare(spec, asked.policy or POLICIES, asked.seed, asked.busy, asked.boot_seconds)
    except ShoalError as error:
        parser.error(str(error))
    text = json.dumps([attrs.asdict(one) for one in outcomes], indent=1) if asked.json else as_text(outcomes)
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
