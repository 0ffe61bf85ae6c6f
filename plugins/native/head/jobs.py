"""The head's part in jobs: who they are, what they have and may have, and what the nodes are told of that."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from shoal.machines.jobs import JobDirectory, JobRecord
from shoal.machines.quotas import Give, QuotaLedger, Tell
from shoal.machines.shares import Rank
from shoal.native.process.environments import JOB
from shoal.native.wire import control
from shoal.native.wire.nodes import number_of
from shoal.spec.jobs import JobSpec, JobUse
from shoal.spec.resources import UNIT, ResourceSet, together

if TYPE_CHECKING:
    from shoal.interfaces.sharing import Sharing
    from shoal.native.head.head import Head

T = TypeVar("T")
_SPREAD_SECONDS = 0.1  # changes of what jobs have gather this long before the nodes are told
_MOST_WAITING = 8  # demands of a job, of those that the head places itself, that nodes are told

Units = Mapping[str, int]


class JobsShell:
    """Jobs of this cluster. Called in the head's loop."""

    def __init__(self, head: Head, sharing: Sharing) -> None:
        self._head = head
        self._sharing = sharing
        self.directory = JobDirectory()
        self.ledger = QuotaLedger()
        # node → job → units in use there, how many leases were ended for others, what of it which node has borrowed
        self._use: dict[int, dict[bytes, list[Any]]] = {}
        self._specs: dict[bytes, JobSpec] = {}
        self.placing = False  # something has its part of a quota, and its node is asked next
        self._outbox: deque[Give | Tell] = deque()
        self._trying_soon = False
        self._looking = False
        self._since: dict[
            tuple[bytes, frozenset[tuple[str, int]]], float
        ] = {}  # demands of actors: seen first
        self._turn = 0
        self._spreading = False
        self._told: dict[int, list[Any]] = {}
        self.own = b""  # the job of a session that has only one
        self._ended: list[bytes] = []  # jobs that nodes have not been told of yet

    def restore(self, nodes: list[int]) -> None:
        """Go on with the jobs of the last head, whose nodes are to tell what they have of quotas."""
        for record in self._head.records.load_jobs():
            self.directory.restore(record)
            self._know(record.spec)
        self.ledger.restore(nodes)

    # From clients

    def begin(self, driver: bytes, spec: dict[str, Any], facts: dict[str, Any]) -> None:
        """A driver has begun."""
        record = JobRecord(
            spec=JobSpec.from_wire(spec),
            driver=driver,
            process=facts["pid"],
            entrypoint=facts["entrypoint"],
            namespace=facts["namespace"],
            started=time.time(),
        )
        if self.directory.begin(record):
            self._know(record.spec)
            self._head.records.job(record)
            self._note(record)
            self._spread_soon()

    def _note(self, record: JobRecord) -> None:
        self._head.on_event(
            "job",
            {
                "job": record.spec.job_id,
                "name": record.spec.name,
                "state": record.state,
                "message": record.message,
                "started": record.started,
                "ended": record.ended,
                "driver": record.driver,
                "node": self._node_of(record.driver),
                "pid": record.process,
                "entrypoint": record.entrypoint,
                "priority": record.spec.priority,
                "share": record.spec.share,
            },
        )

    def _know(self, spec: JobSpec) -> None:
        self._specs[spec.job_id] = spec
        self.ledger.job(spec.job_id, spec.quota)

    def finish(self, job: bytes) -> None:
        """A driver says goodbye."""
        self._over(self.directory.finish(job, time.time()))

    def client_gone(self, client: bytes) -> None:
        """A process is gone: if it was a driver that has not said goodbye, its job has died."""
        self._over(self.directory.driver_lost(client, time.time(), "its driver ended without shutdown()"))

    def node_lost(self, number: int, reason: str) -> None:
        """A node is dead, and the drivers on it."""
        self._use.pop(number, None)
        self._told.pop(number, None)
        for record in self.directory.running():
            if number_of(record.driver) == number:
                lost = self.directory.driver_lost(
                    record.driver, time.time(), f"its driver's node died: {reason}"
                )
                self._over(lost)
        self.ledger.node_gone(number)
        self._carry_out()

    def reconcile(self, number: int, clients: set[bytes], portions: dict[bytes, Units]) -> None:
        """A node that has connected again tells which processes live there, and what it has of quotas."""
        for record in self.directory.running():
            if number_of(record.driver) == number and record.driver not in clients:
                self.client_gone(record.driver)
        self.ledger.settled(number, portions)
        self._carry_out()

    def _over(self, record: JobRecord | None) -> None:
        if record is None:
            return
        self._head.records.job(record)
        self._note(record)
        self._ended.append(record.spec.job_id)
        for job in self.directory.prune():
            self._head.records.forget_job(job)
            self._specs.pop(job, None)
            self.ledger.forget(job)
        self._spread_soon()

    # From nodes

    def joined(self, number: int, is_new: bool) -> None:
        """A node has connected."""
        self._told.pop(number, None)
        self.ledger.joined(number, is_new)
        self._carry_out()
        self._spread_soon()

    def note_use(self, number: int, use: dict[bytes, list[Any]]) -> None:
        """A node tells what each job has there; see control.JOBS_USE."""
        if use != self._use.get(number):
            self._use[number] = use
            self._spread_soon()

    def ask(self, number: int, job: bytes, unit: Units, count: int) -> None:
        """A node lacks some of a job's quota."""
        self.ledger.ask(number, job, unit, count)
        self._carry_out()

    def returned(self, number: int, job: bytes, units: Units) -> None:
        """A node gives some of a job's quota back."""
        self.ledger.returned(number, job, units)
        self._carry_out()

    def take(self, job: bytes, parts: Mapping[int, Units]) -> str:
        """Give nodes what is about to be placed there. Returns why the quota does not allow it, "" if it does."""
        allowed = self.ledger.take(job, parts)
        self.placing = True
        try:
            self._carry_out()
        finally:
            self.placing = False
        return "" if allowed else self.spec(job).at_quota()

    def _carry_out(self) -> None:
        # One line for all: what goes to the head's own node is carried out at once, and may lead back here.
        self._outbox.extend(self.ledger.take_effects())
        while self._outbox:
            effect = self._outbox.popleft()
            if isinstance(effect, Give):
                self._head.send(effect.node, [control.QUOTA_GIVE, effect.job, dict(effect.units), effect.use])
            else:
                self._head.send(effect.node, [control.QUOTA_TIGHT, effect.job, effect.tight])
        if self.ledger.head_may_try():
            self.try_soon()

    def try_soon(self) -> None:
        """Have what waits tried, but not from here: this may be in the middle of placing it."""
        if not self._trying_soon:
            self._trying_soon = True
            self._head.call_later(0.0, self._try_pending)

    def _try_pending(self) -> None:
        self._trying_soon = False
        self._head.try_pending()

    @contextmanager
    def trying(self) -> Iterator[None]:
        """What waits at the head is tried anew inside; only what then lacks quota goes on waiting for it."""
        self.ledger.forget_head()
        yield
        self.ledger.tell_all()
        self._carry_out()

    # Ranks

    def spec(self, job: bytes) -> JobSpec:
        """Return a job's description; that of an unknown one says nothing."""
        return self._specs.get(job) or JobSpec(job_id=job)

    def has_several(self) -> bool:
        """Whether jobs compete."""
        return len(self._specs) > 1

    def rank(self, job: bytes) -> Rank:
        """Return a job's place in the line: lower is served first."""
        record = self.directory.find(job)
        use = JobUse(
            spec=self.spec(job),
            used=self.used(job),
            total=self._total(),
            number=0 if record is None else int(record.started * 1_000),
        )
        return self._sharing.rank(use)

    def of_demand(self, wire: dict[str, Any] | None) -> bytes:
        """Return whose demand a scheduling class is."""
        job = None if wire is None else wire["environment"].get(JOB)
        return self.own if job is None else bytes(job["id"])

    def in_order(self, items: Iterable[T], job_of: Callable[[T], bytes]) -> list[T]:
        """Return what waits in the order of their jobs' ranks; what is of one job stays in order."""
        found = list(items)
        if len(found) > 1 and self.has_several():
            ranks: dict[bytes, Rank] = {}
            for item in found:
                job = job_of(item)
                if job not in ranks:
                    ranks[job] = self.rank(job)
            found.sort(key=lambda item: ranks[job_of(item)])
        return found

    def used(self, job: bytes) -> dict[str, int]:
        """Return what a job has in the whole cluster."""
        return together(use[job][0] for use in self._use.values() if job in use)

    def _elsewhere(self, job: bytes, number: int) -> dict[str, int]:
        """Return what a job has on other nodes, what `number` has borrowed aside: it knows that better itself."""
        elsewhere: dict[str, int] = {}
        for node, use in self._use.items():
            if node != number and job in use:
                units, _, lent = use[job]
                mine = lent.get(number, {})
                elsewhere = together(
                    (elsewhere, {name: amount - mine.get(name, 0) for name, amount in units.items()})
                )
        return {name: amount for name, amount in elsewhere.items() if amount > 0}

    def _total(self) -> dict[str, int]:
        return together(record.total.units for record in self._head.membership.living())

    def _preempted(self, job: bytes) -> int:
        return sum(use[job][1] for use in self._use.values() if job in use)

    # To nodes

    def waiting_changed(self) -> None:
        """The head has something more, or less, to place."""
        if self.has_several():
            self._spread_soon()
            if self._head.config.preemption and not self._looking:
                self._looking = True
                self._head.call_later(self._head.config.preemption_grace_seconds, self._look)

    def _look(self) -> None:
        """Ask nodes, in turn, to end tasks of lower priority for actors that have waited for long."""
        self._looking = False
        grace = self._head.config.preemption_grace_seconds
        now = time.monotonic()
        waiting = self._head.actors.waiting_demands()
        present = [(job, frozenset(units.items())) for job, units in waiting]
        self._since = {key: self._since.get(key, now) for key in present}
        for (job, units), key in zip(waiting, present, strict=True):
            nodes = [
                record.number
                for record in self._head.membership.living()
                if record.number in self._head.links and record.total.covers(ResourceSet(units))
            ]
            if nodes and now - self._since[key] >= grace:
                self._turn += 1
                self._head.send(nodes[self._turn % len(nodes)], [control.MAKE_ROOM, job, dict(units)])
        if waiting:
            self._looking = True
            self._head.call_later(max(0.1, min(0.5, grace / 4)), self._look)

    def _spread_soon(self) -> None:
        if not self._spreading:
            self._spreading = True
            self._head.call_later(_SPREAD_SECONDS, self._spread)

    def _spread(self) -> None:
        """Tell each node what the jobs have elsewhere, and what waits here, where nobody else sees it."""
        self._spreading = False
        ended, self._ended = self._ended, []
        waiting: dict[bytes, list[Units]] = {}
        if self.has_several() and not self._head.has_one_node():
            for job, units in self._head.actors.waiting_demands() + self._head.groups.waiting_demands():
                some = waiting.setdefault(job, [])
                if len(some) < _MOST_WAITING:
                    some.append(dict(units))
        for number in list(self._head.links):
            jobs = []
            for job in self._specs:
                elsewhere = self._elsewhere(job, number)
                if elsewhere or job in waiting:
                    jobs.append([job, elsewhere, waiting.get(job, []), self.spec(job).to_wire()])
            if ended or jobs != self._told.get(number, []):
                self._told[number] = jobs
                self._head.send(number, [control.JOBS, jobs, ended])

    # For people

    def describe(self) -> list[dict[str, Any]]:
        """Return every job that is remembered, for people and the state API."""
        for link in self._head.links.values():
            link.report()
        waiting = self._head.pending_by_job()
        return [
            {
                "job": record.spec.job_id,
                "name": record.spec.name,
                "state": record.state,
                "message": record.message,
                "priority": record.spec.priority,
                "share": record.spec.share,
                "quota": {name: units / UNIT for name, units in record.spec.quota.items()},
                "preemptible": record.spec.preemptible,
                "used": {name: units / UNIT for name, units in self.used(record.spec.job_id).items()},
                "waiting": waiting.get(record.spec.job_id, 0),
                "preempted": self._preempted(record.spec.job_id),
                "started": record.started,
                "ended": record.ended,
                "driver": record.driver,
                "node": self._node_of(record.driver),
                "pid": record.process,
                "entrypoint": record.entrypoint,
                "namespace": record.namespace,
            }
            for record in self.directory.all()
        ]

    def _node_of(self, driver: bytes) -> str:
        node = self._head.membership.find(number_of(driver))
        return "" if node is None else node.node_id.hex()
