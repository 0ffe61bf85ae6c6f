"""Jobs as a node knows them: whose a demand is, who is to give leases back, portions of quotas, preemption."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, Any

from shoal.death import Cause, DeathCertificate
from shoal.ids import NodeID
from shoal.machines.leases import Want
from shoal.machines.preemption import Running, choose_victims
from shoal.machines.shares import Shares
from shoal.native.process.environments import JOB
from shoal.native.process.job import job_of_settings
from shoal.native.wire import control, kinds
from shoal.native.wire.nodes import number_of
from shoal.spec.jobs import JobSpec
from shoal.spec.resources import ResourceSet, together
from shoal.spec.strategy import DefaultStrategy, SpreadStrategy

if TYPE_CHECKING:
    from shoal.interfaces.sharing import Sharing
    from shoal.native.daemon.daemon import Daemon
    from shoal.native.daemon.scheduling import Scheduling
    from shoal.native.daemon.workers import WorkerProcess

_log = logging.getLogger("shoal.daemon")
_HOLD_SECONDS = 0.25  # how long room is kept for a want that is kept elsewhere
_ASK_SECONDS = 0.05  # how long a part of a quota is kept for another node to ask again
_MOST_ENDED = 64  # leases that one look ends for others
_HEAD = "head"


class LocalJobs:
    """One node's part. Called with the lock held."""

    def __init__(self, daemon: Daemon, scheduling: Scheduling, sharing: Sharing) -> None:
        self._daemon = daemon
        self._scheduling = scheduling
        self.shares = Shares(sharing.rank)
        session = daemon.session
        own = JobSpec(job_id=session.job_id)
        if not session.standing:
            own = job_of_settings(daemon.config, session.job_id)
        self.own = own.job_id
        self.shares.know(own)
        self._asked: dict[tuple[bytes, tuple[tuple[str, int], ...]], int] = {}
        self._to_settle: set[bytes] = set()
        self._told: set[bytes] = set()  # who is to give leases back
        self._holding: set[object] = set()  # claims for which room is kept
        self._looking = False
        self._turn = 0

    def of(self, wire: dict[str, Any]) -> bytes:
        """Return whose demand a scheduling class is."""
        job = wire["environment"].get(JOB)
        if job is None:
            return self.own
        identity: bytes = job["id"]
        if not self.shares.knows(identity):
            self.shares.know(JobSpec.from_wire(job["spec"]))
        return identity

    def nodes_changed(self) -> None:
        """Nodes have come or gone: shares are parts of what all have."""
        total = self._daemon.nodes.totals()
        for name, units in self._scheduling.book.total.units.items():
            total[name] = total.get(name, 0) + units
        self.shares.total = total

    # The head tells

    def update(self, jobs: list[list[Any]], ended: list[bytes]) -> None:
        """What jobs have on other nodes, and what of theirs waits at the head; jobs that have ended."""
        book = self._scheduling.book
        for name in [name for name in book.claims if isinstance(name, tuple) and name[0] == _HEAD]:
            book.unclaim(name)
        told = set()
        for job, used, waiting, spec in jobs:
            told.add(job)
            self.shares.know(JobSpec.from_wire(spec))
            self.shares.elsewhere(job, used)
            for number, units in enumerate(waiting):
                book.claim((_HEAD, job, number), job, ResourceSet(units))
        for job in set(self.shares.jobs) - told:
            self.shares.elsewhere(job, {})
        for job in ended:
            self.shares.ended(job)
        self._daemon.schedule()

    def allow(self, job: bytes, units: dict[str, int], use: bool) -> None:
        """The head gives a part of a job's quota."""
        self.shares.allowed(job, units, keep=not use)
        for key in [key for key in self._asked if key[0] == job]:
            del self._asked[key]
        if use:
            self._scheduling.lending.freed = True  # nodes that were refused for it may ask again
            self._to_settle.add(job)
            self._daemon.schedule()

    def tight(self, job: bytes, is_tight: bool) -> None:
        """Another node lacks some of a job's quota, or does not any more."""
        self.shares.tight(job, is_tight)
        self._daemon.schedule()

    def purpose_comes(self, job: bytes, units: dict[str, int]) -> None:
        """What the head gave a part of a quota for is asked of this node now."""
        self.shares.unkeep(job, units)

    def not_needed(self, job: bytes, units: dict[str, int]) -> None:
        """What the head gave for a purpose is not needed, since that was refused."""
        self.shares.hand_back(job, units)
        self._tell_head()

    def portions(self) -> list[list[Any]]:
        """Return [job, units] of what this node has of quotas, for a head that knows of nothing else."""
        self._asked.clear()
        self.shares.new_head()
        return [[job, units] for job, units in self.shares.portions().items()]

    def use(self) -> dict[bytes, list[Any]]:
        """Return, by job, what is in use here, how many leases were ended for others, and what of it who borrows."""
        use: dict[bytes, list[Any]] = {job: [*told, {}] for job, told in self.shares.use().items()}
        for lease in self._scheduling.book.leases.values():
            borrower = number_of(lease.holder)
            if (
                lease.pool is None
                and _is_client(lease.holder)
                and borrower != self._daemon.number
                and lease.held
            ):
                lent = use[lease.job][2]
                lent[borrower] = together((lent.get(borrower, {}), lease.held.units))
        return use

    # After each step

    def after_step(self) -> None:
        """Tell whoever must know."""
        if self._to_settle:  # what was given was tried in this step
            settling, self._to_settle = self._to_settle, set()
            borrowers = {claim.job for claim in self._scheduling.book.claims.values()}
            for job in settling:
                if job in borrowers:  # another node was just told that it may ask again
                    self._daemon.call_later(_ASK_SECONDS, functools.partial(self._settle, job))
                else:
                    self.shares.settle(job)
        self._tell_head()
        self._tell_contention()
        self._drop_held()
        if self._daemon.config.preemption and not self._looking and self._anybody_waits():
            self._looking = True
            self._daemon.call_later(self._look_seconds, self._look)

    def _settle(self, job: bytes) -> None:
        self.shares.settle(job)
        self._tell_head()

    def _tell_head(self) -> None:
        for job, units in self.shares.take_returns().items():
            self._daemon.uplink.up([control.QUOTA_RETURN, job, units])
        for shortage in self.shares.take_shortages():
            key = (shortage.job, shortage.unit)
            if self._asked.get(key, 0) < shortage.count:
                self._asked[key] = shortage.count
                question = [control.QUOTA_ASK, shortage.job, dict(shortage.unit), shortage.count]
                self._daemon.uplink.up(question)

    def _tell_contention(self) -> None:
        """Ask clients for leases that others should have, and tell them when nobody should any more."""
        lending = self._scheduling.lending
        holders = self._scheduling.book.to_give_back(_is_client, lending.borrowed())
        if holders == self._told:
            return
        for holder in holders - self._told:
            self._daemon.tell(holder, [kinds.RECLAIM, True])
        for holder in self._told - holders:
            self._daemon.tell(holder, [kinds.RECLAIM, False])
        self._told = holders

    def _drop_held(self) -> None:
        """Room is kept for a claim for a moment only: who has it may not want it any more, or not here."""
        book = self._scheduling.book
        for name, claim in book.claims.items():
            if name not in self._holding and book.available.covers(claim.resources):
                self._holding.add(name)
                self._daemon.call_later(_HOLD_SECONDS, functools.partial(self._give_up, name, claim))

    def _give_up(self, name: object, claim: object) -> None:
        self._holding.discard(name)
        book = self._scheduling.book
        if book.claims.get(name) is claim:
            book.unclaim(name)
            self._daemon.schedule()

    # Preemption

    @property
    def _look_seconds(self) -> float:
        return max(0.05, min(0.5, self._daemon.config.preemption_grace_seconds / 4))

    def _anybody_waits(self) -> bool:
        return len(self.shares.jobs) > 1 and bool(self._scheduling.book.wants)

    def _look(self) -> None:
        """See who has waited for too long behind jobs of lower priority."""
        self._looking = False
        now = time.monotonic()
        grace = self._daemon.config.preemption_grace_seconds
        book = self._scheduling.book
        free = book.available + self._coming()
        lowest = self._lowest_priority()
        for want in book.wants:
            if not want.waiting_since:
                want.waiting_since = now
            plain = isinstance(want.demand.strategy, (DefaultStrategy, SpreadStrategy))
            if want.infeasible or not plain or now - want.waiting_since < grace:
                continue
            spec = self.shares.spec(want.job)
            if self.shares.lacks(want.job, want.demand.resources):
                continue  # it is its own quota that it waits for
            left = want.count
            while left and lowest is not None and lowest < spec.priority:
                after = self._make_room(spec, want.demand.resources, free)
                if after is None:
                    break
                free = after - want.demand.resources
                left -= 1
            if left:
                self._insist(want)
        self.after_step()

    def make_room(self, job: bytes, units: dict[str, int]) -> None:
        """A demand of a job that waits elsewhere, for long, would fit here if tasks of lower priority ended."""
        if self._daemon.config.preemption:
            self._make_room(
                self.shares.spec(job), ResourceSet(units), self._scheduling.book.available + self._coming()
            )

    def _coming(self) -> ResourceSet:
        """Return what is free soon: their workers are ending."""
        coming = ResourceSet()
        for worker in self._daemon.pool.workers.values():
            if worker.ending is not None and worker.lease is not None and worker.lease.pool is None:
                coming = coming + worker.lease.held
        return coming

    def _lowest_priority(self) -> int | None:
        return min((one.priority for one in self._preemptible()), default=None)

    def _preemptible(self) -> list[Running]:
        now = time.monotonic()
        found = []
        for worker in self._daemon.pool.workers.values():
            lease = worker.lease
            if (
                lease is None
                or lease.pool is not None
                or worker.state != "leased"
                or worker.ending is not None
            ):
                continue
            spec = self.shares.spec(lease.job)
            if worker.retriable and spec.preemptible:
                found.append(Running(lease.lease_id, spec.priority, lease.held, now - worker.leased_at))
        return found

    def _make_room(self, spec: JobSpec, demand: ResourceSet, free: ResourceSet) -> ResourceSet | None:
        """End tasks so that a demand fits. Returns what is free then, None if ending tasks cannot do it."""
        victims = choose_victims(demand, free, self._preemptible(), spec.priority)
        if victims is None or len(victims) > _MOST_ENDED:
            return None
        by_lease = {
            worker.lease.lease_id: worker
            for worker in self._daemon.pool.workers.values()
            if worker.lease is not None
        }
        for victim in victims:
            self._preempt(by_lease[victim.lease_id], spec, demand)
            free = free + victim.resources
        return free

    def _preempt(self, worker: WorkerProcess, spec: JobSpec, demand: ResourceSet) -> None:
        assert worker.lease is not None
        job = worker.lease.job
        mine = self.shares.spec(job)
        detail = (
            f"job {spec.shown} (priority {spec.priority}) waits for {demand!r}, and job {mine.shown} (priority "
            f"{mine.priority}) can run this again; it does, and that is not one of its retries"
        )
        _log.warning("%s (pid %d) is preempted: %s", worker.label or "a task", worker.pid, detail)
        self.shares.preempted(job)
        self._daemon.pool.kill(worker, DeathCertificate(what="worker", cause=Cause.PREEMPTED, detail=detail))

    def _insist(self, want: Want) -> None:
        """Ask another node, in turn, for a lease even though it is full: it may end tasks of lower priority."""
        nodes = self._daemon.nodes.that_could_hold(want.demand.resources)
        if not nodes or want.outstanding or want.count <= 0:
            return
        self._turn += 1
        node_id: NodeID = nodes[self._turn % len(nodes)]
        self._scheduling.book.forward(want)
        self._scheduling.lending.ask(want, node_id, self._scheduling.class_of(want.class_key), insist=True)


def _is_client(holder: bytes) -> bool:
    """Drivers and workers have short identifiers, actors long ones."""
    return len(holder) == 8
