"""The head's part in growing and shrinking: one autoscaler hears what waits, and all nodes what that one can bring."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.interfaces.metadata import SupportsLeases, Write
from shoal.machines.scaling import NeedTable, Offers
from shoal.native.wire import control
from shoal.native.wire.demand import demand_from_wire
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, Demand, GroupSpec, Infeasible

if TYPE_CHECKING:
    from shoal.native.head.head import Head, NodeLink

_LEASE = "shoal:autoscaler"
_TABLE = "shoal:scaling"
_REQUESTS = b"requests"
_EXPECTED_SECONDS = 30.0  # that an autoscaler which is to come may take to say so
_UNTOLD = "nobody knows yet"  # what a node is needed for
_MOST_REQUESTED = 100_000


class ScalingShell:
    """Which autoscaler leads, what it offers, what it has told, and what was asked for."""

    def __init__(self, head: Head, expected: bool) -> None:
        self._head = head
        self._owner = b""
        self._until = 0.0
        self._report: dict[str, Any] | None = None
        self._reported = 0.0
        self.offers: Offers = Offers(expected=expected)
        self._requests: list[list[Any]] = []
        self._parts: dict[int, list[list[Any]]] = {}  # node → its needs
        self._in_use: dict[int, str] = {}
        if head.records.keeps:
            kept = head.metadata.get(_TABLE, _REQUESTS)
            self._requests = [] if kept is None else msgspec.msgpack.decode(kept)
        if expected:
            head.call_later(_EXPECTED_SECONDS, self._expect_no_more)

    def _expect_no_more(self) -> None:
        if self.offers.expected and not self.offers.all:
            self._set_offers(Offers())

    # Nodes

    def note(self, number: int, needs: list[list[Any]], in_use: str) -> None:
        """A node tells what waits there, and what it is needed for."""
        self._parts[number] = needs
        self._in_use[number] = in_use

    def node_lost(self, number: int) -> None:
        """A node is dead."""
        self._parts.pop(number, None)
        self._in_use.pop(number, None)

    def introduce(self, link: NodeLink) -> None:
        """Tell a node that has joined what could be launched."""
        if self.offers.any:
            link.send([control.SCALING, msgspec.msgpack.encode(self.offers.to_wire())])

    # The autoscaler

    def lead(self, client: bytes, owner: bytes, seconds: float, types: list[dict[str, Any]]) -> bool:
        """Let an autoscaler lead for so many seconds. False: another one does."""
        now = time.monotonic()
        metadata = self._head.metadata
        if owner != self._owner and now < self._until:
            return False
        if isinstance(metadata, SupportsLeases) and not metadata.acquire(_LEASE, owner, seconds):
            return False
        self._owner, self._until = owner, now + seconds
        self._head.call_later(seconds, self._look)
        offers = Offers(types)
        if offers.to_wire() != self.offers.to_wire():
            self._set_offers(offers)
        return True

    def step_down(self, client: bytes, owner: bytes) -> bool:
        """An autoscaler ends."""
        if owner != self._owner:
            return False
        if isinstance(self._head.metadata, SupportsLeases):
            self._head.metadata.release(_LEASE, owner)
        self._until = 0.0
        self._look()
        return True

    def _look(self) -> None:
        """Nobody leads any more if nobody has said so for long."""
        if self._owner and time.monotonic() >= self._until:
            self._owner = b""
            self._set_offers(Offers())

    def _set_offers(self, offers: Offers) -> None:
        self.offers = offers
        self._in_use.clear()  # who had nobody to tell has told nothing; all tell it anew
        self._head.broadcast([control.SCALING, msgspec.msgpack.encode(offers.to_wire())])
        self._head.try_pending()

    def tell(self, client: bytes, owner: bytes, report: dict[str, Any]) -> bool:
        """Keep what the leading autoscaler says of itself."""
        if owner != self._owner:
            return False
        self._report, self._reported = report, time.monotonic()
        return True

    def told(self, client: bytes) -> dict[str, Any] | None:
        """Return the last report, how old it is, and whether its autoscaler still leads."""
        if self._report is None:
            return None
        return {**self._report, "age": time.monotonic() - self._reported, "leads": bool(self._owner)}

    def request(self, client: bytes, needs: list[list[Any]]) -> None:
        """Replace what the cluster is to have room for. Raises ValueError if it is too much."""
        if len(needs) > _MOST_REQUESTED:
            raise ValueError(f"at most {_MOST_REQUESTED:,} bundles can be requested, not {len(needs):,}")
        self._requests = needs
        if self._head.records.keeps:
            self._head.metadata.apply([Write(_TABLE, _REQUESTS, msgspec.msgpack.encode(needs))])

    # What there is

    def view(self, client: bytes) -> dict[str, Any]:
        """Return nodes, what waits, and what was requested."""
        head = self._head
        for link in head.links.values():
            link.report()
        head.refresh()
        needs = NeedTable()
        for rows in self._parts.values():
            needs.add_rows(rows)
        head.actors.add_needs(needs)
        plain = [[*row, "", ""] for row in needs.rows()] + self._groups()
        nodes = [
            {
                "id": bytes(record.node_id),
                "total": dict(record.total.units),
                "available": dict(record.available.clipped().units),
                "labels": dict(record.labels),
                "draining": record.state == "DRAINING",
                "in_use": self._in_use.get(record.number, _UNTOLD)
                or ("" if record.connected else "it is not connected"),
                "version": record.version,
            }
            for record in head.membership.living()
        ]
        return {"nodes": nodes, "needs": plain, "requests": self._requests}

    def _groups(self) -> list[list[Any]]:
        """Return [units, labels, count, what, group, apart] of the bundles that wait."""
        rows: list[list[Any]] = []
        for record in self._head.groups.book.pending():
            if self._head.groups.is_at_quota(record):
                continue
            spec = record.spec
            key = bytes(spec.group_id).hex()
            what = f"placement group {spec.name or key}"
            bundles = [spec.bundles[index] for index in self._head.groups.book.missing(record)]
            if spec.strategy == "STRICT_PACK" and bundles:
                together = sum((bundle.resources for bundle in bundles), ResourceSet())
                labels = {name: text for bundle in bundles for name, text in bundle.label_selector.items()}
                rows.append([dict(together.units), labels, 1, what, key, ""])
                continue
            apart = key if spec.strategy == "STRICT_SPREAD" else ""
            rows += [
                [dict(bundle.resources.units), dict(bundle.label_selector), 1, what, key, apart]
                for bundle in bundles
            ]
        return rows

    # Work that no node can run

    def rescue(self, demand: Demand) -> str:
        """Say what the autoscaler could launch for a demand that no node can hold; "" if nothing."""
        if self.offers.expected and not self.offers.all:
            return "the autoscaler is not up yet"
        able = self.offers.able(demand, self._head.scheduler.place)
        return f"the autoscaler can launch {' or '.join(able)} for it" if able else ""

    def could_hold(self, spec: GroupSpec, view: ClusterView) -> bool:
        """Tell whether a placement group that no nodes can hold would fit with what could be launched."""
        if self.offers.expected and not self.offers.all:
            return True
        return bool(self.offers.all) and self.offers.able_group(spec, view, self._head.scheduler.place_group)

    def infeasible_reason(self, wire: dict[str, Any]) -> str:
        """Return why no node, and none that could be launched, can ever run a class; nothing if some could."""
        if wire["strategy"][0] == "group":
            return ""
        self._head.refresh()
        demand = demand_from_wire(wire, 0)
        decision = self._head.scheduler.place(demand, self._head.membership.view())
        if not isinstance(decision, Infeasible) or self.rescue(demand):
            return ""
        more = self.offers.why_not()
        return f"{decision.reason}. {more}" if more else decision.reason
