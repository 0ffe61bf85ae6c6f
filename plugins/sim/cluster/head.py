"""The head of the model: membership, the directory of actors and the book of placement groups, with their shell."""

from __future__ import annotations

from collections.abc import Mapping
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
from shoal.machines.membership import Membership, MembershipEffect, NodeChanged
from shoal.sim.cluster.daemon import node_name
from shoal.sim.network import Connection, Network
from shoal.sim.process import Machine, Process
from shoal.spec.live import LiveView
from shoal.spec.resources import ResourceSet
from shoal.spec.view import Demand, GroupPlacement, GroupSpec, NodeView, Placement

LEASE = 6.0  # seconds without a sign of life after which a node is dead: longer than a daemon's FENCE
GRACE = 5.0  # seconds without a connection after which it is; as long nodes may come back to a restarted head
TURN = 0.2  # seconds between two looks at what could not be placed


class Head(Process):
    """The control service. What its machines know is on disk and outlives it; connections and views do not."""

    def __init__(self, network: Network, machine: Machine, scheduler: Scheduler) -> None:
        super().__init__(network, machine, "head")
        self.scheduler = scheduler
        self.members: Membership = Membership(LEASE, GRACE)
        self.directory: ActorDirectory = ActorDirectory()
        self.groups: GroupBook = GroupBook()
        self.demands: dict[bytes, Demand] = {}
        self.places: dict[bytes, NodeID] = {}  # actor → the node that it is on, or is being put on
        self.view: LiveView = LiveView()

    def started(self) -> None:
        self.view = LiveView()
        self._ends: dict[int, Connection] = {}  # node, by number
        self._clients: dict[bytes, Connection] = {}
        self._to_place: dict[bytes, None] = {}
        self._turn = 0
        now = self.clock()
        for node in self.members.living():
            # All had a lease when this head was not there to renew it: each has one more to come back.
            self.members.renew(node.number, now)
            self.members.disconnected(node.number, now)
            self.view.put(node.view())
        for record in self._reserving():
            self._refuse_all(record, "the head was restarted")
        for actor in self.directory.all():
            if actor.state != "DEAD" and not actor.worker:
                self._place_again(actor.actor_id)
        self._watch()

    # Nodes

    def _watch(self) -> None:
        self._nodes_changed(self.members.tick(self.clock()))
        self._place_waiting()
        self.after(TURN, self._watch)

    def on_register(
        self,
        end: Connection,
        number: int,
        node: NodeView,
        actors: list[tuple[bytes, str, int]],
        groups: Mapping[bytes, Mapping[int, int]],
    ) -> None:
        """A daemon is new, or has come back with the actors that live on it and the bundles reserved there."""
        known = self.members.find_id(node.node_id)
        # A node without a number may have got one that it did not hear of.
        number = number or (known.number if known is not None else self.members.reserve_number())
        if not self.members.may_join(number, node.node_id):
            end.send(("dead",))
            return
        for other in self.members.living():
            # A machine that begins anew ends what it was before.
            if other.number != number and node_name(other.node_id) == node_name(node.node_id):
                self._nodes_changed(self.members.left(other.number, "its machine began anew"))
        self._ends[number] = end
        end.send(("welcome", number))
        end.send(("nodes", list(self.view.nodes.values()), []))
        effects = self.members.join(number, node.node_id, "", node.total, {}, self.clock())
        self._nodes_changed(effects + self.members.resources(number, node.available, 0))
        self._compare_actors(end, node.node_id, actors)
        self._compare_groups(end, number, node.node_id, groups)

    def _compare_actors(self, end: Connection, node_id: NodeID, actors: list[tuple[bytes, str, int]]) -> None:
        """End what lives there and should not, and hear that what should live there does not."""
        here = set()
        for actor, worker, incarnation in actors:
            record = self.directory.find(actor)
            lives = record is not None and record.state != "DEAD" and record.incarnation == incarnation
            if record is None or not lives or record.worker != worker.encode():
                end.send(("end_worker", worker))
                continue
            here.add(record.worker)
            self.places[actor] = node_id
            self._carry_out(self.directory.ready(actor, incarnation))
            if record.ends_for_good:
                end.send(("end_worker", worker))  # it was told before, but may not have heard
        for actor, place in list(self.places.items()):
            record = self.directory.find(actor)
            if place != node_id or record is None:
                continue
            if not record.worker:
                self._place_again(actor)
            elif record.worker not in here:
                self._worker_gone(record.worker, "it was not there when its node came back")

    def _compare_groups(
        self, end: Connection, number: int, node_id: NodeID, reserved: Mapping[bytes, Mapping[int, int]]
    ) -> None:
        """Release what a node has reserved for nobody."""
        for key, held in reserved.items():
            record = self.groups.find(key)
            nodes = record.nodes if record is not None and record.state != "REMOVED" else ()
            wanted = {attempt for index, attempt in held.items() if nodes and nodes[index] == node_id}
            if record is not None and record.state == "RESERVING":
                wanted.add(record.attempt)  # it has said yes already, others have not answered yet
            for attempt in sorted(set(held.values()) - wanted):
                end.send(("release", key, attempt))

    def on_alive(self, end: Connection, number: int, available: ResourceSet) -> None:
        """A daemon's sign of life."""
        if self._ends.get(number) is not end:
            return  # it has not been welcomed yet
        if not self.members.renew(number, self.clock()):
            end.send(("dead",))
            return
        end.send(("heard",))
        record = self.members.find(number)
        if record is not None and record.available != available:
            self._nodes_changed(self.members.resources(number, available, 0))

    def _nodes_changed(self, effects: list[MembershipEffect]) -> None:
        for effect in effects:
            record = self.members.find(effect.number)
            if record is None:
                continue
            if not isinstance(effect, NodeChanged):
                self._node_dead(record.number, record.node_id, effect.reason)
            elif record.state != "DEAD":
                self.view.put(record.view())
                self._broadcast(("nodes", [record.view()], []))
        self.members.validate()

    def _broadcast(self, message: Any) -> None:
        for end in self._ends.values():
            end.send(message)

    def _node_dead(self, number: int, node_id: NodeID, reason: str) -> None:
        self.world.note("node dead", node_name(node_id), number, reason)
        self.view.remove(node_id)
        self._broadcast(("nodes", [], [node_id]))
        for client in self._clients.values():
            client.send(("node_dead", node_id))
        end = self._ends.pop(number, None)
        if end is not None:
            end.send(("dead",))
        for actor, place in list(self.places.items()):
            if place == node_id:
                record = self.directory.find(actor)
                if record is not None and record.worker:
                    self._worker_gone(record.worker, f"{node_name(node_id)} died")
                else:
                    self._place_again(actor)
        for waiting in self._reserving():
            if number in waiting.unanswered | waiting.reserved:
                self._refuse_all(waiting, "a node died meanwhile")
        for key in self.groups.node_lost(node_id, number):
            group = self.groups.find(key)
            client_end = self._clients.get(group.creator) if group is not None else None
            if client_end is not None:
                client_end.send(("group_broken", key))
        self.groups.validate()

    # Connections

    def on_client(self, end: Connection, client: bytes) -> None:
        """A driver has connected, or come back: it says again what it wants."""
        self._clients[client] = end

    def closed(self, end: Connection) -> None:
        for client, other in list(self._clients.items()):
            if other is end:
                del self._clients[client]
        for number, other in list(self._ends.items()):
            if other is end:
                del self._ends[number]
                self._nodes_changed(self.members.disconnected(number, self.clock()))
                for record in self._reserving():
                    if number in record.unanswered:
                        self._refuse_all(record, "the connection to a node broke")
                for actor, place in list(self.places.items()):
                    node = self.members.find(number)
                    found = self.directory.find(actor)
                    if node is not None and place == node.node_id and found is not None and not found.worker:
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

    def on_actor_placed(self, end: Connection, actor: bytes, incarnation: int, worker: str) -> None:
        """A daemon has a worker for an actor."""
        if self.directory.placed(actor, incarnation, worker.encode()):
            end.send(("construct", actor, worker, incarnation))
        else:
            end.send(("end_worker", worker))

    def on_actor_busy(self, end: Connection, actor: bytes, incarnation: int) -> None:
        """A daemon has no room for an actor after all."""
        record = self.directory.find(actor)
        if record is not None and record.incarnation == incarnation:
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
                self._broadcast(("end_worker", effect.worker.decode()))
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

    # Placing

    def _place_waiting(self) -> None:
        for record in self.groups.pending():
            self._try_group(record)
        for actor in list(self._to_place):
            demand = self.demands[actor]
            self._turn += 1
            decision = self.scheduler.place(attrs.evolve(demand, turn=self._turn), self.view)
            if not isinstance(decision, Placement):
                continue
            node = self.members.find_id(decision.node_id)
            end = self._ends.get(node.number) if node is not None else None
            if end is None:
                continue
            del self._to_place[actor]
            incarnation = self.directory.begin(actor)
            if incarnation:
                self.places[actor] = decision.node_id
                self._take(decision.node_id, demand.resources)
                end.send(("start_actor", actor, incarnation, demand))

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
            end.send(("group_removed", spec.group_id))
        elif found.nodes:
            end.send(("group_broken", spec.group_id))  # it was told before, but may not have heard

    def on_remove_group(self, end: Connection, group: bytes) -> None:
        """A driver needs a group no more."""
        if self.groups.remove(group) is not None:
            self.groups.validate()
            self._broadcast(("release", group, None))
        end.send(("group_removed", group))

    def _reserving(self) -> list[GroupRecord]:
        return [record for record in self.groups.living() if record.state == "RESERVING"]

    def _try_group(self, record: GroupRecord) -> None:
        spec = record.spec
        missing = [spec.bundles[index] for index in self.groups.missing(record)]
        decision = self.scheduler.place_group(attrs.evolve(spec, bundles=tuple(missing)), self.view)
        if not isinstance(decision, GroupPlacement):
            return
        parts: dict[int, dict[int, ResourceSet]] = {}
        chosen: dict[int, bytes] = {}
        for bundle, node_id in zip(missing, decision.nodes, strict=True):
            node = self.members.find_id(node_id)
            if node is None or node.number not in self._ends:
                return
            parts.setdefault(node.number, {})[bundle.index] = bundle.resources
            chosen[bundle.index] = node_id
        key = bytes(spec.group_id)
        attempt = self.groups.propose(key, chosen, frozenset(parts))
        for number, bundles in parts.items():
            self._ends[number].send(("reserve", key, attempt, bundles))

    def on_reserved(
        self,
        end: Connection,
        group: bytes,
        attempt: int,
        number: int,
        reason: str,
    ) -> None:
        """A daemon has reserved bundles of a group, or could not."""
        state = self.groups.answered(group, attempt, number, reason)
        if state == "stale" and not reason:
            end.send(("release", group, attempt))
        elif state == "failed":
            self._take_back(group, attempt)
        elif state == "created":
            found = self.groups.find(group)
            assert found is not None
            client = self._clients.get(found.creator)
            if client is not None:
                client.send(("group", group, found.nodes))
        self.groups.validate()

    def _refuse_all(self, record: GroupRecord, reason: str) -> None:
        """Give up an attempt: what was asked of nodes will not be answered by all of them."""
        for number in sorted(record.unanswered)[:1]:
            self.groups.answered(bytes(record.spec.group_id), record.attempt, number, reason)
            self._take_back(bytes(record.spec.group_id), record.attempt)

    def _take_back(self, group: bytes, attempt: int) -> None:
        for number in sorted(self.groups.take_back(group)):
            end = self._ends.get(number)
            if end is not None:
                end.send(("release", group, attempt))
