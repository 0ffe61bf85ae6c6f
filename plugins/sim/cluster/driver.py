"""A driver of the model: the owner of tasks, with their leases, retries and lineage."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import attrs

from shoal.ids import NodeID, PlacementGroupID
from shoal.sim.cluster.actors import OwnedActors
from shoal.sim.cluster.daemon import node_name
from shoal.sim.cluster.groups import OwnedGroups
from shoal.sim.cluster.truth import Truth
from shoal.sim.cluster.work import TaskWork, Work
from shoal.sim.network import Connection, Network
from shoal.sim.process import Machine, Process
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import PlacementGroupStrategy
from shoal.spec.view import Demand

AGAIN = 0.2  # seconds until what could not be placed is tried again
PATIENCE = 3.0  # seconds that a request waits at one node before it looks round again

WAITING, PLACING, RUNNING, DONE, FAILED = "WAITING", "PLACING", "RUNNING", "DONE", "FAILED"


@attrs.define(eq=False)
class Task:
    """What the owner knows of one task."""

    work: TaskWork
    submitted: bool = False
    state: str = WAITING
    attempts: int = 0  # how often it was sent to a worker
    place: str = ""  # the node that has its result; empty if the owner itself has it
    place_id: NodeID | None = None
    result: bool = False  # there is one, as far as the owner knows
    told: bool = False  # its end was told to the program
    round: int = 0  # grows with every request: an answer to an earlier one does not count


@attrs.define(eq=False)
class Site:
    """One node that the owner asks for leases."""

    name: str
    end: Connection | None = None
    waiting: dict[bytes, deque[Task]] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Held:
    """A lease in use, with its worker."""

    site: Connection
    lease_id: int
    worker: str
    task: Task
    end: Connection | None = None


class Driver(Process):
    """Submits its work and sees it through. It lives on a machine of its own that no fault touches."""

    def __init__(
        self, network: Network, machine: Machine, work: Work, nodes: list[str], truth: Truth
    ) -> None:
        super().__init__(network, machine, machine.name)
        self.truth = truth
        self.client: bytes = machine.name.encode().ljust(8, b"\0")[:8]
        self.tasks: dict[str, Task] = {task.name: Task(task) for task in work.tasks}
        self.actors: OwnedActors = OwnedActors(self, work.actors)
        self.groups: OwnedGroups = OwnedGroups(self, work.groups)
        self.head: Connection | None = None
        self._nodes = nodes
        self._home: Connection | None = None
        self._homes = itertools.cycle(nodes)
        self._sites: dict[str, Site] = {}
        self._held: dict[str, Held] = {}  # worker → what it does
        self._asked: dict[int, tuple[Task, int]] = {}
        self._numbers = itertools.count(1)
        self._users: dict[str, list[Task]] = {}
        for task in self.tasks.values():
            for need in task.work.needs:
                self._users.setdefault(need, []).append(task)

    def started(self) -> None:
        self.connect("head")
        self._go_home()
        for task in self.tasks.values():
            self.after(task.work.submit_at, self._submit, task)
        self.actors.begin()
        self.groups.begin()

    def finished(self) -> bool:
        """Tell whether everything has ended, as far as the driver knows."""
        tasks = all(task.told and task.state in (DONE, FAILED) for task in self.tasks.values())
        return tasks and self.actors.finished() and self.groups.finished()

    def unfinished(self) -> list[str]:
        """Say what has not ended, and in which state it is."""
        found = [f"{n} {task.state}" for n, task in self.tasks.items() if task.state not in (DONE, FAILED)]
        return found + self.actors.unfinished() + self.groups.unfinished()

    # Connections

    def connected(self, end: Connection) -> None:
        name = end.other.name
        if name == "head":
            self.head = end
            end.send(("client", self.client))
            self.actors.say_all()
            self.groups.say_all()
        elif "/" in name:
            held = self._held.get(name)
            if held is None or held.end is not None:
                if not self.actors.connected(end):
                    end.close()
                return
            held.end = end
            self._push(held)
        elif name not in self._sites or self._sites[name].end is not None:
            self._home = end
            self._hello(end)
            asked, self._asked = self._asked, {}
            for task, turn in asked.values():
                if task.round == turn:
                    self._ask(task)
        else:
            site = self._sites[name]
            site.end = end
            self._hello(end)
            for key in site.waiting:
                self._say_want(site, key)

    def _hello(self, end: Connection) -> None:
        # Each connection is a holder of its own: what an earlier one held ends when its end is noticed there.
        number = next(self._numbers)
        end.send(("hello", self.client[-4:] + number.to_bytes(4, "big")))

    def refused(self, name: str) -> None:
        if name == "head":
            self.after(AGAIN, self.connect, "head")
        elif "/" in name:
            held = self._held.pop(name, None)
            if held is None:
                self.actors.refused(name)
                return
            held.site.send(("return", held.lease_id))
            self._again(held.task)
        elif name in self._sites and self._sites[name].end is None:
            self._leave_site(self._sites[name])
        else:
            self.after(AGAIN, self._go_home)

    def closed(self, end: Connection) -> None:
        name = end.other.name
        held = self._held.get(name)
        if end is self.head:
            self.head = None
            self.after(AGAIN, self.connect, "head")
        elif end is self._home:
            self._home = None
            self._go_home()
        elif held is not None and held.end is end:
            del self._held[name]
            held.site.send(("return", held.lease_id))  # the worker may live on: only the connection broke
            self._worker_lost(held.task)
        elif name in self._sites and self._sites[name].end is end:
            self._leave_site(self._sites[name])
        else:
            self.actors.closed(end)

    def _go_home(self) -> None:
        """Find a node to ask where work should go."""
        name = next(self._homes)
        if name in self._sites and self._sites[name].end is None:
            self.after(
                AGAIN, self._go_home
            )  # it is being connected to already: the two are not to be mixed up
            return
        self.connect(name)

    def _leave_site(self, site: Site) -> None:
        """A node cannot be reached: what waited there looks round again. Workers there report themselves."""
        self._sites.pop(site.name, None)
        for tasks in site.waiting.values():
            for task in tasks:
                self._again(task)

    def received(self, end: Connection, message: Any) -> None:
        kind, *rest = message
        getattr(self, f"on_{kind}")(end, *rest)

    # Tasks: from waiting to a node

    def _submit(self, task: Task) -> None:
        task.submitted = True
        self.advance(task)

    def advance(self, task: Task) -> None:
        """Do what can be done for a task that waits: fail it, make what it needs again, or ask for a place."""
        if task.state != WAITING or not task.submitted:
            return
        for need in task.work.needs:
            producer = self.tasks[need]
            if producer.state == FAILED:
                self.end(task, "argument failed")
                return
            if producer.state == DONE and not producer.result:
                self._make_again(producer)
        if any(not self.tasks[need].result for need in task.work.needs):
            return
        if task.work.group:
            state = self.groups.state_of(task.work.group)
            if state == "GONE":
                self.end(task, "group removed")
                return
            if state != "CREATED":
                return
        task.state = PLACING
        task.round += 1
        if task.work.group:
            self._want(self.groups.node_for(task.work.group, task.round), task)
        else:
            self._ask(task)

    def _make_again(self, producer: Task) -> None:
        """Run a task again whose result is lost, if it may run again."""
        if producer.attempts > producer.work.max_retries:
            producer.state = FAILED
            self.truth.outcomes[producer.work.name] = "lost"
            self._tell_users(producer)
            return
        self.world.note("again", producer.work.name)
        producer.state = WAITING
        self.advance(producer)

    def demand_of(self, task: Task) -> Demand:
        """Return what a task asks of a scheduler, its place in the line of turns included."""
        resources = ResourceSet.of(CPU=task.work.cpus)
        if task.work.group:
            group = PlacementGroupID(self.groups.id_of(task.work.group))
            return Demand(resources=resources, strategy=PlacementGroupStrategy(group_id=group))
        held: dict[NodeID, int] = {}
        for need in task.work.needs:
            producer = self.tasks[need]
            if producer.place_id is not None:
                where = producer.place_id
                held[where] = held.get(where, 0) + producer.work.result_bytes
        return Demand(resources=resources, argument_bytes=held, turn=next(self._numbers))

    def _ask(self, task: Task) -> None:
        number = next(self._numbers)
        self._asked[number] = (task, task.round)
        if self._home is not None:
            self._home.send(("ask", number, self.demand_of(task)))
        self.after(PATIENCE, self._again, task, task.round)

    def on_try(self, end: Connection, number: int, node_id: NodeID | None) -> None:
        task, turn = self._asked.pop(number, (None, 0))
        if task is None or task.round != turn or task.state != PLACING:
            return
        task.round += 1
        if node_id is None:
            self.after(AGAIN, self._again, task, task.round)
        else:
            self._want(node_name(node_id), task)

    def _again(self, task: Task, turn: int | None = None) -> None:
        """Look for a place once more, unless something newer has happened to the task."""
        if task.state in (PLACING, RUNNING) and (turn is None or task.round == turn):
            task.round += 1
            task.state = WAITING
            self.after(0.01, self.advance, task)

    def _key(self, task: Task) -> bytes:
        return f"{task.work.cpus}/{task.work.group}".encode()

    def _want(self, name: str, task: Task) -> None:
        site = self._sites.get(name)
        if site is None:
            site = self._sites[name] = Site(name)
            self.connect(name)
        key = self._key(task)
        site.waiting.setdefault(key, deque()).append(task)
        self._say_want(site, key)
        self.after(PATIENCE, self._lose_patience, site, key, task, task.round)

    def _say_want(self, site: Site, key: bytes) -> None:
        tasks = site.waiting[key]
        if site.end is not None:
            # Nobody is left to ask for: the class is named all the same, to withdraw what was asked before.
            demand = self.demand_of(tasks[0]) if tasks else Demand(resources=ResourceSet())
            site.end.send(("want", key, demand, len(tasks)))

    def _lose_patience(self, site: Site, key: bytes, task: Task, turn: int) -> None:
        tasks = site.waiting.get(key, ())
        if task.round == turn and task.state == PLACING and task in tasks:
            site.waiting[key].remove(task)
            self._say_want(site, key)
            self._again(task)

    # Tasks: at a worker

    def on_lease(self, end: Connection, key: bytes, lease_id: int, worker: str) -> None:
        site = self._sites.get(end.other.name)
        tasks = site.waiting.get(key) if site is not None and site.end is end else None
        if site is None or not tasks:
            end.send(("return", lease_id))
            if site is not None and site.end is end:
                self._say_want(site, key)
            return
        task = tasks.popleft()
        # A want is a level: one that was said while this lease was under way asked for one too many.
        self._say_want(site, key)
        task.state = RUNNING
        self._held[worker] = Held(end, lease_id, worker, task)
        self.connect(worker)

    def _push(self, held: Held) -> None:
        task = held.task
        task.attempts += 1
        arguments = []
        for need in task.work.needs:
            producer = self.tasks[need]
            arguments.append((need, producer.work.result_bytes, producer.place))
        assert held.end is not None
        work = task.work
        held.end.send(("run", work.name, task.attempts, work.seconds, work.result_bytes, tuple(arguments)))

    def on_done(
        self, end: Connection, name: str, attempt: int, size: int, place: str, place_id: NodeID
    ) -> None:
        if self.actors.done(end, name):
            return
        held = self._held.get(end.other.name)
        if held is None or held.end is not end:
            return
        task = held.task
        self._release(held)
        task.result, task.place = True, place
        task.place_id = place_id if place else None
        self.end(task, "done")

    def on_lost(self, end: Connection, name: str, attempt: int, argument: str, place: str) -> None:
        """A worker could not have an argument: it was not executed, so no attempt is spent."""
        held = self._held.get(end.other.name)
        if held is None or held.end is not end:
            return
        held.task.attempts -= 1
        self._release(held)
        producer = self.tasks[argument]
        if producer.place == place:
            producer.result = False
        self._again(held.task)

    def _release(self, held: Held) -> None:
        """Use the lease for the next task of its kind, or give it back."""
        del self._held[held.worker]
        site = self._sites.get(held.site.other.name)
        key = self._key(held.task)
        tasks = site.waiting.get(key) if site is not None and site.end is held.site else None
        if tasks and site is not None and held.end is not None and held.end.open:
            following = tasks.popleft()
            following.state = RUNNING
            self._say_want(site, key)
            again = Held(held.site, held.lease_id, held.worker, following, held.end)
            self._held[held.worker] = again
            self._push(again)
            return
        if held.end is not None:
            held.end.close()
        held.site.send(("return", held.lease_id))

    def _worker_lost(self, task: Task) -> None:
        if task.attempts <= task.work.max_retries:
            self._again(task)
        else:
            self.end(task, "worker crashed")

    def end(self, task: Task, outcome: str) -> None:
        """A task has ended. The program hears of it once, however often its result was made again."""
        task.state = DONE if outcome == "done" else FAILED
        if not task.told:
            task.told = True
            self.truth.ended(task.work.name, outcome)
        self._tell_users(task)
        if task.work.group:
            self.groups.task_ended(task.work.group)

    def _tell_users(self, task: Task) -> None:
        for user in self._users.get(task.work.name, ()):
            self.advance(user)

    # What the head says

    def on_node_dead(self, end: Connection, node_id: NodeID) -> None:
        """What lay on that node is lost; what is still needed is made again."""
        for task in self.tasks.values():
            if task.state == DONE and task.place_id == node_id:
                task.result = False
        for task in self.tasks.values():
            self.advance(task)

    def on_actor(self, end: Connection, actor: bytes, state: str, worker: str) -> None:
        self.actors.hear(actor, state, worker)

    def on_group(self, end: Connection, group: bytes, nodes: tuple[NodeID, ...]) -> None:
        self.groups.created(group, nodes)

    def on_group_broken(self, end: Connection, group: bytes) -> None:
        self.groups.broken(group)

    def on_group_removed(self, end: Connection, group: bytes) -> None:
        self.groups.gone(group)
