"""The head of the model: nodes and their leases of life, the directory of actors, the book of placement groups."""

from __future__ import annotations

from typing import Any

import attrs

from shoal.death import Cause, DeathCertificate
from shoal.ids import NodeID
from shoal.interfaces.scheduler import Scheduler
from shoal.machines.actors import (
    ActorDirectory,
    ActorEnded,
    ActorRecord,
    Effect,
    EndWorker,
    PlaceActor,
    TellActor,
    WithdrawActor,
)
from shoal.machines.groups import GroupBook, GroupRecord
from shoal.sim.network import Connection, Network
from shoal.sim.process import Machine, Process
from shoal.spec.live import LiveView
from shoal.spec.resources import ResourceSet
from shoal.spec.view import Demand, GroupPlacement, GroupSpec, NodeView, Placement

LEASE = 6.0  # seconds without a sign of life after which a node is dead: longer than a daemon's FENCE
GRACE = 5.0  # seconds after a restart in which nodes may come back with what they run
TURN = 0.2  # seconds between two looks at what could not be placed


@attrs.define(eq=False)
class Node:
    """One node that has registered."""

    name: str
    life: int
    end: Connection | None
    heard: float


class Head(Process):
    """The control service. Its directory and its book are on disk: they outlive it, all else does not."""

    def __init__(self, network: Network, machine: Machine, scheduler: Scheduler) -> None:
        super().__init__(network, machine, "head")
        self.scheduler = scheduler
        self.directory: ActorDirectory = ActorDirectory()
        self.groups: GroupBook = GroupBook()
        self.demands: dict[bytes, Demand] = {}
        self.places: dict[bytes, NodeID] = {}  # actor → the node that it is on, or is being put on
        self.view: LiveView = LiveView()

    def started(self) -> None:
        self.view = LiveView()
        self._nodes: dict[NodeID, Node] = {}
        self._clients: dict[bytes, Connection] = {}
        self._to_place: dict[bytes, None] = {}
        self._reserving: dict[bytes, dict[NodeID, bool | None]] = {}
        self._wanted: dict[bytes, tuple[NodeID, ...]] = {}
        self._turn = 0
        self._open = self.life == 1  # after a restart, only once nodes had time to come back
        if not self._open:
            self.after(GRACE, self._settle)
        self._watch()

    # Nodes

    def _watch(self) -> None:
        for node_id, node in list(self._nodes.items()):
            if self.clock() - node.heard > LEASE:
                self._node_dead(node_id, node)
        self._place_waiting()
        self.after(TURN, self._watch)

    def on_register(
        self,
        end: Connection,
        view: NodeView,
        name: str,
        life: int,
        actors: list[tuple[bytes, str, int]],
        groups: tuple[bytes, ...],
    ) -> None:
        """A daemon is new, or has come back with the actors that live on it and the groups with bundles there."""
        node_id = view.node_id
        known = self._nodes.get(node_id)
        if known is not None and known.life != life:
            self._node_dead(node_id, known)
        self._nodes[node_id] = Node(name, life, end, self.clock())
        self._see(view)
        everything = list(self.view.nodes.values())
        end.send(("nodes", everything, []))
        end.send(("heard",))
        here = {worker for _, worker, _ in actors}
        for actor, worker, incarnation in actors:
            record = self.directory.find(actor)
            if (
                record is None
                or record.state == "DEAD"
                or record.worker != worker.encode()
                or record.incarnation != incarnation
            ):
                end.send(("end_worker", worker))
            else:
                self.places[actor] = node_id
                self._carry_out(self.directory.ready(actor, incarnation))
                if record.ends_for_good:
                    end.send(("end_worker", worker))  # it was told before, but may not have heard
        for actor, place in list(self.places.items()):
            record = self.directory.find(actor)
            if (
                place == node_id
                and record is not None
                and record.worker
                and record.worker.decode() not in here
            ):
                self._worker_gone(record.worker, "it was not there when its node came back")
            elif place == node_id and record is not None and not record.worker:
                self._place_again(actor)
        self._compare_groups(end, node_id, groups)

    def _compare_groups(self, end: Connection, node_id: NodeID, reserved: tuple[bytes, ...]) -> None:
        """Release what a node has reserved for nobody, and end the groups that it has forgotten."""
        mine = {bytes(found.spec.group_id) for found in self._groups("CREATED") if node_id in found.nodes}
        for key in reserved:
            if key not in mine and key not in self._reserving:
                end.send(("release", key))
        for found in self._groups("CREATED"):
            key = bytes(found.spec.group_id)
            if key in mine and key not in reserved:
                self._lose_group(found.spec)

    def _groups(self, state: str) -> list[GroupRecord]:
        found = (self.groups.find(bytes.fromhex(str(each["group_id"]))) for each in self.groups.table())
        return [record for record in found if record is not None and record.state == state]

    def on_alive(self, end: Connection, node_id: NodeID, life: int, available: ResourceSet) -> None:
        """A daemon's sign of life."""
        node = self._nodes.get(node_id)
        if node is None or node.life != life:
            end.send(("dead",))
            return
        node.heard = self.clock()
        node.end = end
        end.send(("heard",))
        before = self.view.nodes[node_id]
        if before.available != available:
            self._see(attrs.evolve(before, available=available))

    def _see(self, node: NodeView) -> None:
        self.view.put(node)
        self._broadcast(("nodes", [node], []))

    def _broadcast(self, message: Any) -> None:
        for node in self._nodes.values():
            if node.end is not None:
                node.end.send(message)

    def _node_dead(self, node_id: NodeID, node: Node) -> None:
        self.world.note("node dead", node.name, node.life)
        del self._nodes[node_id]
        self.view.remove(node_id)
        self._broadcast(("nodes", [], [node_id]))
        for client in self._clients.values():
            client.send(("node_dead", node_id))
        if node.end is not None:
            node.end.send(("dead",))
        for actor, place in list(self.places.items()):
            if place == node_id:
                record = self.directory.find(actor)
                if record is not None and record.worker:
                    self._worker_gone(record.worker, f"{node.name} died")
                else:
                    self._place_again(actor)
        for key, answers in list(self._reserving.items()):
            if node_id in answers:
                self._answered(key, node_id, False)
        for found in self._groups("CREATED"):
            if node_id in found.nodes:
                self._lose_group(found.spec)

    # Clients

    def on_client(self, end: Connection, client: bytes) -> None:
        """A driver has connected, or come back: it says again what it wants."""
        self._clients[client] = end
        for node in list(self.view.nodes.values()):
            end.send(("node_name", node.node_id))

    def closed(self, end: Connection) -> None:
        for client, other in list(self._clients.items()):
            if other is end:
                del self._clients[client]
        for node_id, node in self._nodes.items():
            if node.end is end:
                node.end = None
                for key, answers in list(self._reserving.items()):
                    if answers.get(node_id, True) is None:
                        self._answered(key, node_id, False)
                for actor, place in list(self.places.items()):
                    record = self.directory.find(actor)
                    if place == node_id and record is not None and not record.worker:
                        self._place_again(actor)

    def received(self, end: Connection, message: Any) -> None:
        kind, *rest = message
        getattr(self, f"on_{kind}")(end, *rest)

    # Actors

    def on_create_actor(
        self, end: Connection, client: bytes, actor: bytes, demand: Demand, max_restarts: int
    ) -> None:
        """A driver wants an actor; saying it again changes nothing."""
        if self.directory.find(actor) is None:
            self.demands[actor] = demand
            record = ActorRecord(
                actor_id=actor,
                creator=client,
                class_name="Actor",
                name="",
                namespace="",
                detached=True,
                max_restarts=max_restarts,
                specification={},
            )
            _, effects = self.directory.create(record)
            self._carry_out(effects)
        self._carry_out(self.directory.subscribe(actor, client))

    def on_kill_actor(self, end: Connection, client: bytes, actor: bytes) -> None:
        """A driver needs an actor no more."""
        certificate = DeathCertificate(what="actor", cause=Cause.KILLED_BY_USER)
        self._carry_out(self.directory.kill(actor, True, certificate))
        self._carry_out(self.directory.subscribe(actor, client))  # it may be dead for long: say so

    def on_actor_placed(self, end: Connection, actor: bytes, worker: str) -> None:
        """A daemon has a worker for an actor."""
        node_id = next((key for key, node in self._nodes.items() if node.end is end), None)
        record = self.directory.find(actor)
        if node_id is None or self.places.get(actor) != node_id or record is None or record.worker:
            end.send(("end_worker", worker))
            return
        incarnation = self.directory.placed(actor, worker.encode())
        if incarnation:
            end.send(("construct", actor, worker, incarnation))
        else:
            end.send(("end_worker", worker))

    def on_actor_busy(self, end: Connection, actor: bytes) -> None:
        """A daemon has no room for an actor after all."""
        self._place_again(actor)

    def on_actor_ready(self, end: Connection, actor: bytes, incarnation: int) -> None:
        """An actor's constructor has returned."""
        self._carry_out(self.directory.ready(actor, incarnation))

    def on_worker_died(self, end: Connection, worker: str) -> None:
        """A daemon's worker with an actor is gone."""
        self._worker_gone(worker.encode(), "its process died")

    def _worker_gone(self, worker: bytes, why: str) -> None:
        certificate = DeathCertificate(what="worker", cause=Cause.EXITED, detail=why)
        self._carry_out(self.directory.worker_died(worker, certificate))

    def _place_again(self, actor: bytes) -> None:
        record = self.directory.find(actor)
        self.places.pop(actor, None)
        if record is not None and record.state in ("PENDING", "RESTARTING") and not record.worker:
            self._to_place[actor] = None

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, PlaceActor):
                self._to_place[effect.actor_id] = None
            elif isinstance(effect, WithdrawActor):
                self._to_place.pop(effect.actor_id, None)
                self.places.pop(effect.actor_id, None)
            elif isinstance(effect, EndWorker):
                self._end_worker(effect.worker)
            elif isinstance(effect, TellActor):
                record = self.directory.find(effect.actor_id)
                state, worker = ("DEAD", b"") if record is None else (record.state, record.worker)
                for client in effect.clients:
                    end = self._clients.get(client)
                    if end is not None:
                        end.send(("actor", effect.actor_id, state, worker.decode()))
            else:
                assert isinstance(effect, ActorEnded)
                self.world.note("actor ended", effect.actor_id, effect.restarting)
        self.directory.validate()

    def _end_worker(self, worker: bytes) -> None:
        name = worker.decode()
        for node in self._nodes.values():
            if node.name == name.partition("/")[0] and node.end is not None:
                node.end.send(("end_worker", name))

    def _settle(self) -> None:
        """The nodes that live have come back: what lived on others is over, and what waited goes on."""
        self._open = True
        for record in self.directory.all():
            place = self.places.get(record.actor_id)
            if record.state == "DEAD" or (place in self._nodes and record.worker):
                continue
            if record.worker:
                self._worker_gone(record.worker, "its node did not come back to the restarted head")
            else:
                self._place_again(record.actor_id)
        for found in self._groups("CREATED"):
            if not all(node in self._nodes for node in found.nodes):
                self._lose_group(found.spec)

    # Placing

    def _place_waiting(self) -> None:
        if not self._open:
            return
        for record in self.groups.pending():
            key = bytes(record.spec.group_id)
            if key not in self._reserving:
                self._try_group(key, record.spec)
        for actor in list(self._to_place):
            demand = self.demands[actor]
            self._turn += 1
            decision = self.scheduler.place(attrs.evolve(demand, turn=self._turn), self.view)
            if not isinstance(decision, Placement):
                continue
            node = self._nodes[decision.node_id]
            if node.end is None:
                continue
            del self._to_place[actor]
            self.places[actor] = decision.node_id
            self._take(decision.node_id, demand.resources)
            node.end.send(("start_actor", actor, demand))

    def _take(self, node_id: NodeID, resources: ResourceSet) -> None:
        """Count what was just given away, until the node itself says how much is free."""
        node = self.view.nodes[node_id]
        if node.available.covers(resources):
            self.view.put(attrs.evolve(node, available=node.available - resources))

    # Groups: all bundles are reserved, or those that were are released

    def on_create_group(self, end: Connection, client: bytes, spec: GroupSpec) -> None:
        """A driver wants a group; saying it again changes nothing."""
        found = self.groups.find(spec.group_id)
        if found is None:
            self.groups.create(spec, client)
        elif found.state == "CREATED":
            end.send(("group", spec.group_id, found.nodes))
        elif found.state == "REMOVED":
            end.send(("group_lost", spec.group_id))  # it was told before, but may not have heard

    def on_remove_group(self, end: Connection, group: bytes) -> None:
        """A driver needs a group no more."""
        before = self.groups.remove(group)
        if before is not None:
            self.groups.validate()
            self._release(group)
        end.send(("group_removed", group))

    def _release(self, group: bytes) -> None:
        self._broadcast(("release", group))

    def _try_group(self, key: bytes, spec: GroupSpec) -> None:
        decision = self.scheduler.place_group(spec, self.view)
        if not isinstance(decision, GroupPlacement):
            return
        parts: dict[NodeID, dict[int, ResourceSet]] = {}
        for bundle, node_id in zip(spec.bundles, decision.nodes, strict=True):
            parts.setdefault(node_id, {})[bundle.index] = bundle.resources
        if any(self._nodes[node_id].end is None for node_id in parts):
            return
        self._reserving[key] = dict.fromkeys(parts)
        self._wanted[key] = decision.nodes
        for node_id, bundles in parts.items():
            end = self._nodes[node_id].end
            assert end is not None
            end.send(("reserve", key, bundles))

    def on_reserved(self, end: Connection, group: bytes, node_id: NodeID, life: int, done: bool) -> None:
        """A daemon has reserved its bundles of a group, or could not."""
        node = self._nodes.get(node_id)
        if node is None or node.life != life or node_id not in self._reserving.get(group, {}):
            end.send(("release", group))
            return
        self._answered(group, node_id, done)

    def _answered(self, group: bytes, node_id: NodeID, done: bool) -> None:
        answers = self._reserving[group]
        answers[node_id] = done
        if any(answer is None for answer in answers.values()):
            return
        del self._reserving[group]
        if all(answers.values()) and self.groups.created(group, tuple(self._wanted[group])):
            found = self.groups.find(group)
            assert found is not None
            self.groups.validate()
            client = self._clients.get(found.creator)
            if client is not None:
                client.send(("group", group, found.nodes))
            return
        self._release(group)

    def _lose_group(self, spec: GroupSpec) -> None:
        """A node with a bundle is gone: the group is over, and so is what runs in it."""
        key = bytes(spec.group_id)
        found = self.groups.remove(key)
        assert found is not None
        self._release(key)
        client = self._clients.get(found.creator)
        if client is not None:
            client.send(("group_lost", key))
