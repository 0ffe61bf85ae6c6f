"""What a daemon tells the head unasked: what is free here, and what waits here and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shoal.native.wire import control

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_FREE_SECONDS = (
    0.005  # changes of what is free gather this long for each ten nodes, since the head hears them all
)
_USE_SECONDS = 0.1  # what jobs have changes with every lease, and others need it for fairness only
_DEMANDS_SECONDS = 0.5  # what waits is for people: it is told now and then


class Reports:
    """One node's reports. Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._told: tuple[Any, ...] = ()
        self._demands: list[Any] = []
        self._use: dict[bytes, list[Any]] = {}
        self._soon = False
        self._use_soon = False

    def soon(self) -> None:
        """Tell the head what is free here, if it does not see that by itself."""
        daemon = self._daemon
        if not self._use_soon and daemon.cluster is not None:
            self._use_soon = True
            daemon.call_later(_USE_SECONDS, self._report_use)
        if self._soon or (daemon.head is not None and not daemon.nodes.any):
            return
        self._soon = True
        daemon.call_later(_FREE_SECONDS * max(1.0, daemon.nodes.count / 10), self._report)

    def anew(self) -> None:
        """The head has taken something for granted: tell it what is free, though that may be what it was before."""
        self._told = ()
        self.soon()

    def again(self) -> None:
        """Another head may have taken over: tell it everything."""
        self._told = ()
        self._demands = []
        self._use = {}
        self.soon()

    def _report(self) -> None:
        self._soon = False
        book = self._daemon.scheduling.book
        now = (dict(book.available.units), len(book.wants))
        if now != self._told:
            self._told = now
            self._daemon.uplink.up([control.RESOURCES, *now, None])

    def _report_use(self) -> None:
        self._use_soon = False
        use = self._daemon.scheduling.jobs.use()
        if use != self._use:
            self._use = use
            self._daemon.uplink.up([control.JOBS_USE, use])

    def of_people(self) -> list[list[Any]]:
        """Return what the head is told now and then, as of now."""
        scheduling = self._daemon.scheduling
        return [
            [control.JOBS_USE, scheduling.jobs.use()],
            [control.DEMANDS, msgspec.msgpack.encode(self._of_scheduling())],
        ]

    def _of_scheduling(self) -> list[Any]:
        scaling = self._daemon.scaling
        return [self._daemon.scheduling.demands(), scaling.needs(), scaling.in_use()]

    def forget_demands(self) -> None:
        """Have what waits here told again, though it may not have changed."""
        self._demands = []

    def keep_telling_demands(self) -> None:
        """Tell the head what waits here whenever that has changed, now and then."""
        demands = self._of_scheduling()
        if demands != self._demands:
            self._demands = demands
            self._daemon.uplink.up([control.DEMANDS, msgspec.msgpack.encode(demands)])
        self._daemon.call_later(_DEMANDS_SECONDS, self.keep_telling_demands)
