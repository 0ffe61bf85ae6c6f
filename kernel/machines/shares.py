"""What each job has on a node, what it has elsewhere, and what it may have: the accounts that a lease book asks.

Two questions are answered. Which job is served first: `rank`, by a policy plugin, of what the job has in the whole
cluster. And whether a job's quota allows one lease more here: a node may use no more of a bounded resource than the
*portion* that the head has given it, and the head gives out no more than the quota (escrow: O'Neil, "The Escrow
Transactional Method", TODS 1986). So a quota holds over all nodes, without asking for each lease.

`take`, `give_back`     leases and bundles begin and end here
`allowed`, `tight`      the head gives a portion; another node lacks some: what is not used goes back
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import attrs

from shoal.spec.jobs import JobSpec, JobUse
from shoal.spec.resources import ResourceSet

Rank = tuple[float, ...]
_Units = dict[str, int]


def by_arrival(use: JobUse) -> Rank:
    """Rank jobs by priority, then by who came first: what a book does that was given no policy."""
    return (-use.spec.priority, use.number)


@attrs.define(eq=False)
class _Account:
    spec: JobSpec
    number: int
    used: _Units = attrs.field(factory=dict)
    elsewhere: _Units = attrs.field(factory=dict)  # as the head has told, a moment ago
    borrowed: _Units = attrs.field(factory=dict)  # what this node has asked or got of others for it
    portion: _Units = attrs.field(factory=dict)  # of the resources that the quota names
    kept: _Units = attrs.field(factory=dict)  # of it, for what the head will ask next
    tight: bool = False
    ended: bool = False
    described: bool = False
    wants: int = 0  # wants and claims that stand
    passed: float = 0.0  # its virtual time: each lease advances it by one over its share
    preempted: int = 0  # leases that were ended for others


@attrs.frozen
class Shortage:
    """A job's portion here does not allow `unit`, of which `count` could be used."""

    job: bytes
    unit: tuple[tuple[str, int], ...]
    count: int


class Shares:
    """The accounts of one node. `rank` of the policy is called only where jobs compete."""

    def __init__(self, policy: Callable[[JobUse], Rank] = by_arrival) -> None:
        self._policy = policy
        self._accounts: dict[bytes, _Account] = {}
        self._numbers = itertools.count(1)
        self._short: dict[tuple[bytes, tuple[tuple[str, int], ...]], int] = {}
        self._returns: dict[bytes, _Units] = {}
        self._virtual = 0.0  # the virtual time of who was served last
        self.total: Mapping[str, int] = {}  # of the cluster

    # Jobs

    def know(self, spec: JobSpec) -> None:
        """A job is described; again is nothing new."""
        account = self._account(spec.job_id)
        account.spec = spec
        account.described = True
        account.ended = False

    def ended(self, job: bytes) -> None:
        """A job is over: it is forgotten as soon as nothing of it is left here."""
        account = self._accounts.get(job)
        if account is not None:
            account.ended = True
            self._forget_if_over(account)

    def _account(self, job: bytes) -> _Account:
        account = self._accounts.get(job)
        if account is None:
            account = self._accounts[job] = _Account(JobSpec(job_id=job), next(self._numbers))
        return account

    def _forget_if_over(self, account: _Account) -> None:
        if account.ended and not account.used and not account.borrowed and not account.wants:
            job = account.spec.job_id
            del self._accounts[job]
            if account.portion:
                self._add(self._returns.setdefault(job, {}), account.portion)

    def knows(self, job: bytes) -> bool:
        """Tell whether a job was described, and is not over."""
        account = self._accounts.get(job)
        return account is not None and account.described and not account.ended

    def spec(self, job: bytes) -> JobSpec:
        """Return a job's description; that of an unknown one says nothing."""
        return self._account(job).spec

    @property
    def jobs(self) -> list[bytes]:
        """The jobs that are known."""
        return list(self._accounts)

    def standing(self, job: bytes, change: int) -> None:
        """A want of a job begins (+1) or ends (−1) to stand."""
        account = self._account(job)
        if not account.wants:
            account.passed = max(account.passed, self._virtual)  # who did not wait has saved nothing up
        account.wants += change
        if not account.wants:
            self._forget_if_over(account)

    # Turns

    def turn(self, job: bytes) -> float:
        """Return a job's place among jobs of equal rank, lower first.

        Where there are more jobs than room, many have nothing and equal ranks: they take turns, by their shares
        (stride scheduling: Waldspurger and Weihl, 1995).
        """
        return self._account(job).passed

    def served(self, job: bytes) -> None:
        """A job was granted a lease."""
        account = self._account(job)
        self._virtual = max(self._virtual, account.passed)
        account.passed += 1.0 / account.spec.share

    # What they have

    def take(self, job: bytes, resources: ResourceSet) -> None:
        """Resources of the node are in use by a job."""
        self._add(self._account(job).used, resources.units)

    def give_back(self, job: bytes, resources: ResourceSet) -> None:
        """They are not any more. While another node lacks some of the quota, they leave the portion at once."""
        account = self._account(job)
        self._subtract(account.used, resources.units)
        if account.tight:
            self._return_unused(account)
        self._forget_if_over(account)

    def used(self, job: bytes) -> Mapping[str, int]:
        """Return what a job has here."""
        account = self._accounts.get(job)
        return {} if account is None else account.used

    def use(self) -> dict[bytes, list[object]]:
        """Return [units in use here, leases that were ended for others] of each job that has some, for the head."""
        return {
            job: [dict(account.used), account.preempted]
            for job, account in self._accounts.items()
            if account.used or account.preempted
        }

    def preempted(self, job: bytes) -> None:
        """A lease of a job was ended for another's sake."""
        self._account(job).preempted += 1

    def elsewhere(self, job: bytes, units: Mapping[str, int]) -> None:
        """The head tells what a job has on other nodes, leases aside that this node has borrowed for it."""
        self._account(job).elsewhere = dict(units)

    def borrowed(self, job: bytes, resources: ResourceSet, times: int) -> None:
        """This node has asked others for resources `times` for a job; below zero: it has them no longer."""
        if times:
            account = self._account(job)
            change = self._add if times > 0 else self._subtract
            change(account.borrowed, {name: units * abs(times) for name, units in resources.units.items()})

    def rank(self, job: bytes, more: ResourceSet | None = None) -> Rank:
        """Return a job's place in the line: lower is served first. `more`: as if it had that, too."""
        account = self._account(job)
        used = account.used
        if account.elsewhere or account.borrowed or more is not None:
            used = dict(used)
            self._add(used, account.elsewhere)
            self._add(used, account.borrowed)
            if more is not None:
                self._add(used, more.units)
        use = JobUse(spec=account.spec, used=used, total=self.total, number=account.number)
        return self._policy(use)

    def goes_before(self, waiting: bytes, demand: ResourceSet, having: bytes) -> bool:
        """Tell whether a job that waits for `demand` should get it from one that has resources.

        Only if it is served first even with it, so that nothing goes to and fro; or if it has nothing at all yet.
        """
        if waiting == having:
            return False
        theirs = self.rank(having)
        if self.rank(waiting, demand) < theirs:
            return True
        account = self._account(waiting)
        return not (account.used or account.elsewhere or account.borrowed) and self.rank(waiting) < theirs

    # Quotas

    def lacks(self, job: bytes, resources: ResourceSet, count: int = 1) -> bool:
        """Tell whether a job's portion does not allow `resources` here, and note it for `take_shortages`."""
        account = self._accounts.get(job)
        if account is None or not account.spec.quota:
            return False
        unit: _Units = {}
        short = False
        for name in account.spec.quota:
            units = resources.units.get(name, 0)
            if units:
                unit[name] = units
                short = short or self._bound(account, name) + units > account.portion.get(name, 0)
        if short:
            key = (job, tuple(sorted(unit.items())))
            self._short[key] = max(count, self._short.get(key, 0))
        return short

    def take_shortages(self) -> list[Shortage]:
        """Return what portions did not allow since the last time."""
        short, self._short = self._short, {}
        return [Shortage(job, unit, count) for (job, unit), count in short.items()]

    def take_returns(self) -> dict[bytes, _Units]:
        """Return what has left the portions since the last time: it is the head's again."""
        returns, self._returns = self._returns, {}
        return returns

    def allowed(self, job: bytes, units: Mapping[str, int], keep: bool = False) -> None:
        """The head gives a part of a job's quota; with `keep` it is only for what `unkeep` announces."""
        account = self._account(job)
        self._add(account.portion, units)
        if keep:
            self._add(account.kept, units)

    def unkeep(self, job: bytes, units: Mapping[str, int]) -> None:
        """What a part was kept for comes now."""
        account = self._account(job)
        self._subtract(account.kept, {n: min(u, account.kept.get(n, 0)) for n, u in units.items()})

    @staticmethod
    def _bound(account: _Account, name: str) -> int:
        return account.used.get(name, 0) + account.kept.get(name, 0)

    def settle(self, job: bytes) -> None:
        """What was given was tried: while another node lacks some, what is left of it goes back."""
        account = self._accounts.get(job)
        if account is not None and account.tight:
            self._return_unused(account)

    def tight(self, job: bytes, is_tight: bool) -> None:
        """Another node lacks some of a job's quota, or does not any more."""
        account = self._account(job)
        account.tight = is_tight
        self.settle(job)

    def new_head(self) -> None:
        """Another head may have taken over: it is told the portions as they are, and tells again who lacks some."""
        self._returns.clear()
        for account in self._accounts.values():
            account.tight = False
            account.kept.clear()

    def is_tight(self, job: bytes) -> bool:
        """Tell whether another node lacks some of a job's quota."""
        account = self._accounts.get(job)
        return account is not None and account.tight

    def hand_back(self, job: bytes, units: Mapping[str, int]) -> None:
        """What was given for one purpose is not needed: as much of it as is unused goes back."""
        account = self._accounts.get(job)
        if account is not None:
            self._return_unused(account, units)

    def portions(self) -> dict[bytes, _Units]:
        """Return the portions that this node has."""
        return {job: dict(account.portion) for job, account in self._accounts.items() if account.portion}

    def _return_unused(self, account: _Account, most: Mapping[str, int] | None = None) -> None:
        returned: _Units = {}
        for name, units in account.portion.items():
            unused = units - self._bound(account, name)
            if most is not None:
                unused = min(unused, most.get(name, 0))
            if unused > 0:
                returned[name] = unused
        if returned:
            self._subtract(account.portion, returned)
            self._add(self._returns.setdefault(account.spec.job_id, {}), returned)

    @staticmethod
    def _add(target: _Units, units: Mapping[str, int]) -> None:
        for name, amount in units.items():
            target[name] = target.get(name, 0) + amount

    @staticmethod
    def _subtract(target: _Units, units: Mapping[str, int]) -> None:
        for name, amount in units.items():
            left = target.get(name, 0) - amount
            if left:
                target[name] = left
            else:
                target.pop(name, None)
