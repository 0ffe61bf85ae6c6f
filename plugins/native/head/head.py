"""The head: one per cluster, in the process of the first node's daemon; it joins what the state machines decide.

Single-threaded: everything is called in the loop of that daemon, under its lock. It holds nothing per task or object.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from shoal.config import Config
from shoal.ids import NodeID
from shoal.interfaces.metadata import Metadata, SupportsLeases
from shoal.interfaces.scheduler import Scheduler
from shoal.interfaces.sharing import Sharing
from shoal.machines.membership import Membership, MembershipEffect, NodeChanged, NodeLost, NodeRecord
from shoal.native.head.actors import ActorsShell
from shoal.native.head.begin import LEASE
from shoal.native.head.durable import DurableStates
from shoal.native.head.groups import GroupsShell
from shoal.native.head.jobs import JobsShell
from shoal.native.head.records import Records
from shoal.native.head.requests import HeadRequests
from shoal.native.head.scaling import ScalingShell
from shoal.native.wire import control, kinds
from shoal.native.wire.nodes import node_to_wire, number_of, record_from_wire
from shoal.spec.resources import ResourceSet

_log = logging.getLogger("shoal.head")

Message = list[Any]
# Changes of nodes gather this long for each ten nodes before all are told: what is told is the more, and to the more.
_SPREAD_SECONDS = 0.01


class NodeLink(Protocol):
    """A node as the head reaches it."""

    def send(self, message: Message, soon: bool = True) -> None:
        """Queue a message; what was sent before arrives before. Not `soon`: it may wait milliseconds for others."""
        ...

    def refresh(self) -> None:
        """Tell the head at once what is free, where that costs nothing (its own node)."""
        ...

    def report(self) -> None:
        """Tell the head at once what else it is told now and then, where that costs nothing."""
        ...


class Head:
    """All that is known of the cluster as a whole."""

    def __init__(
        self,
        config: Config,
        metadata: Metadata,
        scheduler: Scheduler,
        sharing: Sharing,
        call_later: Callable[[float, Callable[[], None]], None],
        keeps_records: bool = False,
        session: str = "",
    ) -> None:
        """`keeps_records`: go on from what the last head of this metadata store has kept, and keep more.

        Without it, what must be kept for the session alone is kept under the name `session`.
        """
        self.records = Records(metadata, keeps_records)
        self.config = config
        self.metadata = metadata
        self.scheduler = scheduler
        self.call_later = call_later
        self.membership = Membership(config.node_timeout_seconds, config.node_grace_seconds)
        self.links: dict[int, NodeLink] = {}
        # Hears what becomes of nodes, actors, groups and jobs: (kind, fields); set by its daemon.
        self.on_event: Callable[[str, dict[str, Any]], None] = lambda kind, fields: None
        # Has the head's own node keep the packages of an environment; set by its daemon.
        self.keep_packages: Callable[[dict[str, Any]], None] = lambda environment: None
        # Opens the dashboard's port and returns its address; set by its daemon.
        self.open_dashboard: Callable[[], str] = lambda: ""
        self.actors = ActorsShell(self)
        self.groups = GroupsShell(self)
        self.jobs = JobsShell(self, sharing)
        self.durable = DurableStates(self, metadata, "" if keeps_records else f":{session}")
        self.scaling = ScalingShell(self, keeps_records and bool(config.autoscaling))
        self.requests = HeadRequests(self)
        self._demands: dict[int, list[list[Any]]] = {}  # node → what waits there
        self._kept_states: dict[int, str] = {}  # of nodes, as the records have them
        self._changed: dict[int, None] = {}
        self._spread_as: dict[int, tuple[str, str, ResourceSet]] = {}  # nodes as all were told of them
        self._spreading = False
        self._ticking = False
        self._restore()
        self._handlers: dict[int, Callable[..., None]] = {
            control.FROM_CLIENT: self._from_client,
            control.CLIENT_GONE: lambda node, client: self.client_gone(client),
            control.RESOURCES: self._resources,
            control.ACTOR_PLACED: lambda node, *fields: self.actors.placed(*fields),
            control.ACTOR_REFUSED: lambda node, *fields: self.actors.refused(*fields),
            control.ACTOR_UNPLACEABLE: lambda node, *fields: self.actors.unplaceable(*fields),
            control.ACTOR_INFEASIBLE: lambda node, *fields: self.actors.infeasible(*fields),
            control.ACTOR_IS_READY: lambda node, *fields: self.actors.ready(*fields),
            control.ACTOR_RAISED: lambda node, *fields: self.actors.init_failed(*fields),
            control.ACTOR_LEAVES: lambda node, *fields: self.actors.exiting(*fields),
            control.ACTOR_GONE: lambda node, *fields: self.actors.worker_died(*fields),
            control.RESERVED: lambda node, *fields: self.groups.answered(node, *fields),
            control.TO_CLIENT: lambda node, client, message: self.tell(client, message),
            control.RENEW: self._renew,
            control.DEMANDS: self._note_demands,
            control.STATE: self._reconcile,
            control.JOBS_USE: self.jobs.note_use,
            control.QUOTA_ASK: self.jobs.ask,
            control.QUOTA_RETURN: self.jobs.returned,
            control.LEAVING: lambda node, reason: self._carry_out(self.membership.left(node, reason)),
        }

    def _restore(self) -> None:
        now = time.monotonic()
        number = self.records.load_number()
        if number > 1:
            self.membership.skip_numbers(number)
        for wire in self.records.load_nodes():
            self.membership.restore(record_from_wire(wire), now)
        self.jobs.restore([record.number for record in self.membership.living()])
        self.groups.restore()
        self.actors.restore()
        self.durable.restore()
        if self.membership.living():
            _log.info("the head goes on with %d nodes of the last one", len(self.membership.living()))
            self.call_later(self.membership.timeout, self.tick)

    def renew_lease(self, owner: bytes, seconds: float) -> bool:
        """Keep the metadata store for this head alone; False: another one has it. One that is away is waited for."""
        if not isinstance(self.metadata, SupportsLeases):
            return True
        try:
            return self.metadata.renew(LEASE, owner, seconds)
        except OSError as error:
            _log.error("the metadata store cannot be reached: %s", error)
            return True

    def end_cluster(self, owner: bytes) -> None:
        """The cluster is stopped for good: its nodes are to end, and nothing is kept for another head."""
        for link in self.links.values():
            link.send([control.END, "the cluster was stopped"])
        self.durable.clear()
        self.records.clear()
        if isinstance(self.metadata, SupportsLeases):
            self.metadata.release(LEASE, owner)

    def close(self) -> None:
        """Let go of the metadata store."""
        if not self.records.keeps:
            self.durable.clear()
        self.metadata.close()

    def forget_own(self, node_id: bytes) -> None:
        """The node that the last head was on ended with it."""
        for record in self.membership.living():
            if record.facts.get("head") == "yes" and bytes(record.node_id) != node_id:
                self._carry_out(self.membership.left(record.number, "it was the last head's own node"))

    # Nodes

    def admit(self, node_id: bytes, number: int) -> tuple[str, int]:
        """A node that has proved itself asks for a number, or to come back under its own. Return (refusal, number)."""
        known = self.membership.find_id(NodeID(node_id))
        if not number and known is not None and known.state != "DEAD":
            return "", known.number  # the answer with its number was lost on the way
        if not number:
            number = self.membership.reserve_number()
            self.records.next_number(self.membership.next_number)
            return "", number
        if self.membership.may_join(number, NodeID(node_id)):
            return "", number
        record = self.membership.find(number)
        reason = record.reason if record is not None else "the head does not know it"
        return f"node {node_id.hex()} is no part of the cluster any more: {reason}; start it anew", 0

    def attach(
        self,
        link: NodeLink,
        number: int,
        node_id: bytes,
        address: str,
        total: ResourceSet,
        labels: dict[str, str],
        facts: dict[str, str],
    ) -> None:
        """A node has joined, or has connected again. Raises ValueError if it was given up in the meantime."""
        if not self.membership.may_join(number, NodeID(node_id)):
            raise ValueError(f"node {number} was given up")
        self.links[number] = link
        is_new = self.membership.find(number) is None
        effects = self.membership.join(
            number, NodeID(node_id), address, total, labels, time.monotonic(), facts
        )
        # The dead as well: it may have been away when they died.
        link.send([control.NODES, [node_to_wire(record) for record in self.membership.all()]])
        self.groups.introduce(link)
        self.scaling.introduce(link)
        self._carry_out(effects)
        self.jobs.joined(number, is_new)
        if len(self.links) > 1:
            self.actors.reconsider()
        self.try_pending()
        self._tick_soon()

    def detach(self, number: int, link: NodeLink) -> None:
        """A node's connection is gone."""
        if self.links.get(number) is link:
            del self.links[number]
            self._carry_out(self.membership.disconnected(number, time.monotonic()))
            self.call_later(self.membership.grace, self.tick)

    def on_messages(self, number: int, messages: list[Message], link: NodeLink) -> None:
        """Handle what a node says in one go."""
        for message in messages:
            try:
                self.on_message(number, message, link)
            except Exception:  # the others are no less meant
                _log.exception("a message of kind %r from node %d failed", message[0], number)

    def on_message(self, number: int, message: Message, link: NodeLink | None = None) -> None:
        """Handle what a node says, on its present connection."""
        if link is not None and self.links.get(number) is not link:
            return
        record = self.membership.find(number)
        if record is None or record.state == "DEAD":
            return  # what comes late from a node that was given up counts for nothing
        handler = self._handlers.get(message[0])
        if handler is None:
            _log.error("node %d sent a message of unknown kind %r", number, message[0])
            return
        handler(number, *message[1:])

    def tick(self) -> None:
        """Look whose lease has run out."""
        self.refresh()
        self._carry_out(self.membership.tick(time.monotonic()))

    def _tick_soon(self) -> None:
        if self._ticking or len(self.links) < 2:
            return
        self._ticking = True

        def again() -> None:
            self._ticking = False
            self.tick()
            self._tick_soon()

        self.call_later(self.membership.timeout / 4, again)

    def _renew(self, number: int, clock: float) -> None:
        link = self.links.get(number)
        if self.membership.renew(number, time.monotonic()) and link is not None:
            link.send([control.RENEWED, clock])

    def _resources(
        self, number: int, available: dict[str, int], queued: int, total: dict[str, int] | None
    ) -> None:
        offered = None if total is None else ResourceSet(total)
        self._carry_out(self.membership.resources(number, ResourceSet(available), queued, offered))
        self.try_pending()

    def _reconcile(
        self,
        number: int,
        clients: list[bytes],
        actors: list[list[Any]],
        groups: list[list[Any]],
        portions: list[list[Any]],
    ) -> None:
        """A node that has connected again tells what lives there: both sides make it agree."""
        self.jobs.reconcile(number, set(clients), dict(portions))
        self.groups.reconcile(number, {group: dict(held) for group, held in groups}, set(clients))
        self.actors.reconcile(number, actors, set(clients))

    def _note_demands(self, number: int, packed: bytes) -> None:
        self._demands[number], needs, in_use = msgspec.msgpack.decode(packed)
        self.scaling.note(number, needs, in_use)

    def pending(self) -> list[dict[str, Any]]:
        """Return what waits anywhere in the cluster, and why, for people."""
        found = self.groups.waiting() + self.actors.waiting()
        for number, demands in sorted(self._demands.items()):
            found += [
                {"what": what, "count": count, "demand": demand, "reason": reason, "job": job, "node": number}
                for what, count, demand, reason, job in demands
            ]
        return found

    def pending_by_job(self) -> dict[bytes, int]:
        """Return how much of each job waits anywhere in the cluster."""
        counts: dict[bytes, int] = {}
        for one in self.pending():
            counts[one["job"]] = counts.get(one["job"], 0) + one["count"]
        return counts

    def drain(self, number: int) -> bool:
        """Give a node no new work. Returns whether it was alive."""
        effects = self.membership.drain(number)
        self._carry_out(effects)
        link = self.links.get(number)
        if effects and link is not None:
            link.send([control.DRAIN])
        return bool(effects)

    def try_pending(self) -> None:
        """Something was freed or has joined: place what waits."""
        if not (self.groups.has_pending or self.actors.has_pending or self.jobs.ledger.head_waits):
            return
        if self.jobs.placing:
            self.jobs.try_soon()
            return
        with self.jobs.trying():
            if self.groups.has_pending:
                self.groups.try_pending()
            if self.actors.has_pending:
                self.actors.try_pending()

    def refresh(self) -> None:
        """Make what is known of the head's own node current."""
        for link in self.links.values():
            link.refresh()

    def _carry_out(self, effects: list[MembershipEffect]) -> None:
        for effect in effects:
            if isinstance(effect, NodeChanged):
                self._changed_node(effect.number)
            elif isinstance(effect, NodeLost):
                self._lost(effect.number, effect.reason)

    def _changed_node(self, number: int) -> None:
        record = self.membership.find(number)
        if record is not None and record.state != self._kept_states.get(number):
            self._kept_states[number] = record.state
            self.records.node(record)
            self._note(record)
        self._spread(number)

    def _note(self, record: NodeRecord) -> None:
        fields = {"node": record.node_id.hex(), "number": record.number, "address": record.address}
        fields |= {"state": record.state, "reason": record.reason, "total": record.total.to_floats()}
        self.on_event("node", {**fields, "labels": dict(record.labels), "facts": dict(record.facts)})

    def _lost(self, number: int, reason: str) -> None:
        record = self.membership.find(number)
        assert record is not None
        _log.warning("node %s (%s) is dead: %s", record.node_id.hex(), record.address, reason)
        self._note(record)
        link = self.links.pop(number, None)
        if link is not None:
            link.send([control.END, f"the head gave this node up: {reason}"])
        self._demands.pop(number, None)
        self.scaling.node_lost(number)
        self._spread_now()
        self.jobs.node_lost(number, reason)
        for client in sorted(self.actors.creators() | self.groups.creators()):
            if client and number_of(client) == number:
                self.client_gone(client)  # nobody is left there to say so
        self.actors.node_lost(number, reason)
        self.groups.node_lost(number)
        self.try_pending()

    def _spread(self, number: int) -> None:
        """Tell every node of a change, together with others that come soon."""
        if len(self.links) < 2:
            return
        self._changed[number] = None
        if not self._spreading:
            self._spreading = True
            self.call_later(_SPREAD_SECONDS * max(1.0, len(self.links) / 10), self._spread_now)

    def introduce_nodes(self) -> None:
        """Tell every node of those that have just joined, without waiting for more."""
        if self._changed and any(number not in self._spread_as for number in self._changed):
            self._spread_now()

    def _spread_now(self) -> None:
        self._spreading = False
        changed, self._changed = self._changed, {}
        whole: list[dict[str, Any]] = []
        available: list[list[Any]] = []
        for number in changed:
            record = self.membership.find(number)
            if record is None:
                continue
            # What has a record of its own (a node joins, drains, dies) is told whole, the rest in a few bytes.
            known = (record.state, record.address, record.total)
            if self._spread_as.get(number) == known:
                units = dict(record.available.units)
                available.append([number, record.version, units, record.queued])
            else:
                self._spread_as[number] = known
                whole.append(node_to_wire(record))
            if record.state == "DEAD":
                del self._spread_as[number]
        if whole:
            self.broadcast([control.NODES, whole])
        if available:
            self.broadcast([control.AVAILABLE, available])

    def send(self, number: int, message: Message) -> bool:
        """Send to a node. Returns False if it is not connected."""
        link = self.links.get(number)
        if link is None:
            return False
        link.send(message)
        return True

    def broadcast(self, message: Message, soon: bool = True) -> None:
        """Send to every node; not `soon`: within milliseconds, with what else there is to say."""
        message = control.ForAll(message)
        for link in self.links.values():
            link.send(message, soon)

    def has_one_node(self) -> bool:
        """Whether there is nothing to choose between."""
        return len(self.links) == 1

    # Clients

    def tell(self, client: bytes, message: Message) -> None:
        """Send to a driver or worker, wherever it is."""
        self.send(number_of(client), [control.CLIENT, client, message])

    def _from_client(self, number: int, client: bytes, message: Message) -> None:
        kind = message[0]
        if kind == kinds.REQUEST:
            self.requests.handle(client, message[1], message[2], message[3])
        elif kind == kinds.SUBSCRIBE_ACTOR:
            self.actors.subscribe(message[1], client)
        elif kind == kinds.KILL_ACTOR:
            self.actors.kill(message[1], message[2])
        elif kind == kinds.END_ACTOR:
            self.actors.end(message[1])

    def client_gone(self, client: bytes) -> None:
        """A driver or worker has ended."""
        self.jobs.client_gone(client)
        self.actors.client_gone(client)
        self.groups.client_gone(client)
        if len(self.links) > 1:
            origin = number_of(client)
            for number, link in self.links.items():
                if number != origin:
                    link.send([control.GONE_CLIENTS, [client]])
