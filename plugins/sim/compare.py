"""A cluster reduced to what a scheduler sees: nodes, queues and transfers, a million tasks in a minute.

The scheduler is the real plugin; the rest is as little as can be. Tasks are submitted to one place, which asks the
scheduler where each goes. What must wait stands in line by size: only the first of each size is asked for again, and
only when something was given back since. A task holds its resources while its arguments come and while it runs.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Sequence

import attrs

from shoal.errors import ConfigError
from shoal.ids import NodeID
from shoal.interfaces.scheduler import Scheduler
from shoal.registry.drivers import load_driver
from shoal.registry.groups import SCHEDULERS
from shoal.sim.workloads import SimTask
from shoal.spec.live import LiveView
from shoal.spec.resources import ResourceSet
from shoal.spec.view import Demand, Infeasible, NodeView, Placement

_SMALL = 100 * 1024  # bytes up to which a result travels in messages


@attrs.frozen(kw_only=True)
class Cluster:
    """What is simulated: `gpu_nodes` is the share of nodes that have GPUs."""

    nodes: int = 1000
    cpus: float = 16.0
    gpus: float = 4.0
    gpu_nodes: float = 0.1
    bandwidth: float = 1.25e9  # bytes a second into one node


@attrs.frozen(kw_only=True)
class Result:
    """What one scheduler made of a workload. Seconds are virtual, but for those of deciding."""

    scheduler: str
    tasks: int
    makespan: float  # seconds from the first arrival to the last end
    utilisation: float  # CPU seconds that tasks ran for, as a share of nodes x CPUs x makespan
    bytes_moved: int
    decisions: int
    waits: int  # of the decisions, how many were to wait
    deciding_seconds: float  # of real time, spent inside the scheduler
    real_seconds: float  # of the whole simulation

    @property
    def decisions_per_second(self) -> float:
        """How fast the scheduler was, the rest of the simulation left out."""
        return self.decisions / self.deciding_seconds if self.deciding_seconds else 0.0


class _Run:
    """One scheduler on one workload."""

    def __init__(self, cluster: Cluster, scheduler: Scheduler, tasks: Sequence[SimTask]) -> None:
        self._scheduler = scheduler
        self._tasks = tasks
        self._bandwidth = cluster.bandwidth
        self._view = LiveView(_nodes(cluster))
        self._sizes: dict[tuple[float, float], ResourceSet] = {}
        self._missing = [len(task.needs) for task in tasks]
        self._users: dict[int, list[int]] = {}
        for index, task in enumerate(tasks):
            for need in task.needs:
                self._users.setdefault(need, []).append(index)
        self._where: dict[int, set[NodeID]] = {}  # large results → nodes that have a copy
        self._readers = {need: len(users) for need, users in self._users.items()}
        self._queues: dict[ResourceSet, deque[int]] = {}
        self._stuck: set[ResourceSet] = set()
        # An event is (time, number, index of the task, node): an arrival, or an end where there is a node.
        self._events: list[tuple[float, int, int, NodeID | None]] = [
            (task.arrival, index, index, None) for index, task in enumerate(tasks)
        ]
        heapq.heapify(self._events)
        self._count = len(tasks)
        self.now = 0.0
        self.busy = 0.0
        self.moved = 0
        self.decisions = self.waits = self.ended = 0
        self.deciding = 0.0

    def run(self) -> None:
        events = self._events
        while events:
            self.now, _, index, node_id = heapq.heappop(events)
            if node_id is None:
                if not self._missing[index]:
                    self._enqueue(index)
            else:
                self._end(index, node_id)
            # All that happens at this moment happens before the scheduler is asked.
            if not events or events[0][0] > self.now:
                self._place_all()

    def _size_of(self, task: SimTask) -> ResourceSet:
        key = (task.cpus, task.gpus)
        size = self._sizes.get(key)
        if size is None:
            size = self._sizes[key] = ResourceSet.of(CPU=task.cpus, GPU=task.gpus)
        return size

    def _enqueue(self, index: int) -> None:
        size = self._size_of(self._tasks[index])
        queue = self._queues.get(size)
        if queue is None:
            queue = self._queues[size] = deque()
        queue.append(index)

    def _place_all(self) -> None:
        for size, queue in self._queues.items():
            if size in self._stuck:
                continue
            while queue:
                if not self._place(queue[0], size):
                    self._stuck.add(size)
                    break
                queue.popleft()

    def _place(self, index: int, size: ResourceSet) -> bool:
        task = self._tasks[index]
        held: dict[NodeID, int] = {}
        for need in task.needs:
            amount = self._tasks[need].result_bytes
            if amount > _SMALL:
                for node_id in self._where.get(need, ()):
                    held[node_id] = held.get(node_id, 0) + amount
        demand = Demand(resources=size, argument_bytes=held, turn=self.decisions)
        before = time.perf_counter()
        decision = self._scheduler.place(demand, self._view)
        self.deciding += time.perf_counter() - before
        self.decisions += 1
        if not isinstance(decision, Placement):
            self.waits += 1
            if isinstance(decision, Infeasible):
                raise ConfigError(f"task {index} can never run on this cluster: {decision.reason}")
            return False
        self._start(index, task, size, decision.node_id)
        return True

    def _start(self, index: int, task: SimTask, size: ResourceSet, node_id: NodeID) -> None:
        self._hold(node_id, -1, size)
        moved = 0
        for need in task.needs:
            amount = self._tasks[need].result_bytes
            if amount > _SMALL:
                copies = self._where[need]
                if node_id not in copies:
                    moved += amount
                    copies.add(node_id)
            self._read(need)
        self.moved += moved
        self.busy += task.cpus * task.seconds
        end = self.now + task.seconds + moved / self._bandwidth
        self._count += 1
        heapq.heappush(self._events, (end, self._count, index, node_id))

    def _read(self, need: int) -> None:
        """One reader of a result less; where nobody reads it any more it is freed."""
        self._readers[need] -= 1
        if not self._readers[need]:
            self._where.pop(need, None)

    def _end(self, index: int, node_id: NodeID) -> None:
        task = self._tasks[index]
        size = self._size_of(task)
        self._hold(node_id, 1, size)
        self._stuck.clear()
        self.ended += 1
        users = self._users.pop(index, ())
        if users and task.result_bytes > _SMALL:
            self._where[index] = {node_id}
        for user in users:
            self._missing[user] -= 1
            if not self._missing[user] and self._tasks[user].arrival <= self.now:
                self._enqueue(user)

    def _hold(self, node_id: NodeID, sign: int, size: ResourceSet) -> None:
        node = self._view.nodes[node_id]
        available = node.available + size if sign > 0 else node.available - size
        self._view.put(NodeView(node_id=node_id, total=node.total, available=available))


def _nodes(cluster: Cluster) -> list[NodeView]:
    plain = ResourceSet.of(CPU=cluster.cpus)
    special = ResourceSet.of(CPU=cluster.cpus, GPU=cluster.gpus)
    every = round(1 / cluster.gpu_nodes) if cluster.gpu_nodes and cluster.gpus else 0
    made = []
    for number in range(cluster.nodes):
        total = special if every and number % every == 0 else plain
        made.append(NodeView(node_id=NodeID(number.to_bytes(8, "big")), total=total, available=total))
    return made


def simulate(cluster: Cluster, scheduler: str, tasks: Sequence[SimTask]) -> Result:
    """Run a workload on a simulated cluster with one scheduler plugin.

    Raises ConfigError if a task can never run there, PluginNotFound if the scheduler is not installed.

    Example: `simulate(Cluster(nodes=10), "spread", make_workload("map", 1000, seed=1)).makespan`.
    """
    policy = load_driver(SCHEDULERS, scheduler)()
    started = time.perf_counter()
    run = _Run(cluster, policy, tasks)
    run.run()
    if run.ended != len(tasks):
        raise AssertionError(f"{len(tasks) - run.ended} of {len(tasks)} tasks have not ended")
    makespan = run.now - min(task.arrival for task in tasks)
    room = cluster.nodes * cluster.cpus * makespan
    return Result(
        scheduler=scheduler,
        tasks=len(tasks),
        makespan=makespan,
        utilisation=run.busy / room if room else 0.0,
        bytes_moved=run.moved,
        decisions=run.decisions,
        waits=run.waits,
        deciding_seconds=run.deciding,
        real_seconds=time.perf_counter() - started,
    )
