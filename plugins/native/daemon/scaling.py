"""A node's part in growing and shrinking: what waits here, what this node is needed for, what could be launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shoal.machines.scaling import NeedTable, Offers, shape_of

if TYPE_CHECKING:
    from shoal.machines.leases import Want
    from shoal.native.daemon.daemon import Daemon


class LocalScaling:
    """Called with the lock held. As long as there is no autoscaler it costs nothing."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.offers = Offers()

    def update(self, packed: bytes) -> None:
        """The head tells what an autoscaler could launch now."""
        self.offers = Offers.from_wire(msgspec.msgpack.decode(packed))
        self._daemon.reports.forget_demands()
        self._daemon.scheduling.judge_again()
        self._daemon.schedule()

    def rescue(self, want: Want) -> str:
        """Say what could be launched for a want that no node can hold; "" if nothing."""
        if self.offers.expected and not self.offers.all:
            return "the autoscaler is not up yet"
        able = self.offers.able(want.demand, self._daemon.scheduler.place)
        return f"the autoscaler can launch {' or '.join(able)} for it" if able else ""

    def needs(self) -> list[list[Any]]:
        """Return [units, labels, count, what] of what waits here for room, and not for its job's quota."""
        if not self.offers.any:
            return []
        scheduling = self._daemon.scheduling
        table = NeedTable()
        for want in scheduling.book.wants:
            if want.reason == scheduling.book.shares.spec(want.job).at_quota():
                continue
            table.add(shape_of(want.demand), want.count, scheduling.class_of(want.class_key).get("name", ""))
        return table.rows()

    def in_use(self) -> str:
        """Say what this node is needed for, for people; "" if it could end without a loss."""
        if not self.offers.any:
            return ""
        daemon = self._daemon
        leases = len(daemon.scheduling.book.leases)
        drivers = sum(client.kind == "driver" for client in daemon.clients.values())
        bundles = len(daemon.groups.held())
        objects = daemon.store.statistics().objects
        counts = {"leases": leases, "programs": drivers, "placement groups": bundles, "objects": objects}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
