"""LeaseBook with several jobs: nothing useful stays free, shares converge, priority is strict, quotas hold."""

from __future__ import annotations

import collections

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shoal.ids import NodeID
from shoal.machines.leases import Forward, Lease, LeaseBook, Want
from shoal.machines.shares import Shares
from shoal.schedulers.sharing import FairSharing
from shoal.spec.jobs import JobSpec, JobUse
from shoal.spec.resources import UNIT, ResourceSet
from shoal.spec.view import Decision, Demand, Infeasible, Placement, Wait

NODE = NodeID(b"thisnode")
TOTAL = ResourceSet.of(CPU=8, GPU=4)
JOBS = {
    b"low1": JobSpec(job_id=b"low1"),
    b"low3": JobSpec(job_id=b"low3", share=3),
    b"top1": JobSpec(job_id=b"top1", priority=2),
    b"poor": JobSpec(job_id=b"poor", share=2, quota={"CPU": 2 * UNIT}),
}
DEMANDS = {
    b"cpu": ResourceSet.of(CPU=1),
    b"gpu": ResourceSet.of(CPU=1, GPU=1),
    b"two": ResourceSet.of(CPU=2),
    b"all": ResourceSet.of(CPU=8),
}


def place(demand: Demand, available: ResourceSet, class_key: bytes = b"") -> Decision:
    if available.covers(demand.resources):
        return Placement(NODE)
    short = f"short of {TOTAL.shortfall(demand.resources)!r}"
    return Wait(short) if TOTAL.covers(demand.resources) else Infeasible(short)


def book(*jobs: JobSpec) -> LeaseBook:
    shares = Shares(FairSharing().rank)
    shares.total = TOTAL.units
    for spec in jobs or JOBS.values():
        shares.know(spec)
    return LeaseBook(TOTAL, {}, place, NODE, shares=shares)


def want(leases: LeaseBook, job: bytes, name: bytes, count: int, holder: bytes = b"") -> None:
    """A client of a job wants so many leases of a size. Classes of two jobs are never the same."""
    leases.want(holder or job, job + name, Demand(resources=DEMANDS[name]), count, 0, job)


def grant(leases: LeaseBook) -> list[tuple[Want, Lease]]:
    granted = []
    for one, found in leases.grant():
        assert not isinstance(found, Forward)
        granted.append((one, found))
    return granted


def held(leases: LeaseBook, job: bytes) -> int:
    """Return how many CPUs a job has."""
    return leases.shares.used(job).get("CPU", 0) // UNIT


class Jobs(RuleBasedStateMachine):
    """What comes in any order; after each grant the rules hold."""

    @initialize()
    def start(self) -> None:
        self.book = book()
        self.book.shares.allowed(b"poor", {"CPU": 2 * UNIT})
        self.leases: list[Lease] = []

    @rule(
        job=st.sampled_from(sorted(JOBS)),
        name=st.sampled_from([b"cpu", b"gpu", b"two"]),
        count=st.integers(0, 12),
    )
    def want(self, job: bytes, name: bytes, count: int) -> None:
        want(self.book, job, name, count)

    @rule(which=st.integers(0, 1_000))
    def give_back(self, which: int) -> None:
        if self.leases:
            self.book.give_back(self.leases.pop(which % len(self.leases)).lease_id)

    @rule(which=st.integers(0, 1_000), blocked=st.booleans())
    def block(self, which: int, blocked: bool) -> None:
        # Only as far as it overcommits nothing: what a quota allows is a bound for grants.
        if self.leases:
            lease = self.leases[which % len(self.leases)]
            cpus = ResourceSet({"CPU": lease.resources.units["CPU"]})
            room = self.book.available.covers(cpus)
            if lease.job != b"poor" and (blocked or room):
                self.book.block(lease.lease_id, blocked)

    @rule()
    def grant(self) -> None:
        shares = self.book.shares
        waiting = {one.job for one in self.book.wants}
        for one, found in self.book.grant():
            assert isinstance(found, Lease)
            self.leases.append(found)
            # Whoever is passed over, though it could have had this, is not served before who got it.
            before = self.book.available + found.held
            used = ResourceSet(shares.used(one.job)) - found.held
            rank = FairSharing().rank(
                JobUse(spec=JOBS[one.job], used=used.clipped().units, total=TOTAL.units)
            )
            for other in self.book.wants:
                could = before.covers(other.demand.resources)
                if other.job != one.job and could and not shares.lacks(other.job, other.demand.resources):
                    assert shares.rank(other.job) >= rank, (one, other)
        for one in self.book.wants:
            free = self.book.available.covers(one.demand.resources)
            lacking = shares.lacks(one.job, one.demand.resources)
            assert not free or lacking, "what somebody can use stays free"
            assert one.reason
            if lacking and free:
                assert "at its quota of {CPU: 2}" in one.reason
        assert waiting >= {one.job for one in self.book.wants}

    @invariant()
    def balances(self) -> None:
        if hasattr(self, "book"):
            self.book.validate()
            assert held(self.book, b"poor") <= 2


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def turns(leases: LeaseBook, count: int) -> list[int]:
    """Give leases back as clients do that were asked to: one of who should, at each turn. Return whose CPUs moved."""
    moved = []
    for _ in range(count):
        holders = leases.to_give_back(lambda holder: True)
        mine = [lease for lease in leases.leases.values() if lease.holder in holders]
        if not mine:
            break
        leases.give_back(mine[0].lease_id)
        moved.append(len(grant(leases)))
    return moved


def test_shares_converge_to_the_weights_and_then_nothing_moves() -> None:
    leases = book()
    want(leases, b"low1", b"cpu", 100)
    grant(leases)
    assert held(leases, b"low1") == 8
    want(leases, b"low3", b"cpu", 100)
    assert grant(leases) == []
    moved = turns(leases, 50)
    assert (held(leases, b"low1"), held(leases, b"low3")) == (2, 6)
    assert len(moved) < 50, "at the fair point nobody is asked to give anything back"


def test_dominant_shares_of_unlike_demands_become_equal() -> None:
    # The example of the paper's kind: one needs much of CPU, the other of GPU.
    one, other = JobSpec(job_id=b"cpus"), JobSpec(job_id=b"gpus")
    leases = book(one, other)
    want(leases, b"cpus", b"two", 100)
    want(leases, b"gpus", b"gpu", 100)
    grant(leases)
    # In turn a quarter of the CPUs and a quarter of the GPUs, until the CPUs are gone.
    assert leases.shares.used(b"cpus") == {"CPU": 6 * UNIT}
    assert leases.shares.used(b"gpus") == {"CPU": 2 * UNIT, "GPU": 2 * UNIT}


def test_priority_is_strict_and_takes_back_everything_in_turn() -> None:
    leases = book()
    want(leases, b"low3", b"cpu", 100)
    grant(leases)
    want(leases, b"top1", b"cpu", 100)
    turns(leases, 50)
    assert (held(leases, b"top1"), held(leases, b"low3")) == (8, 0)


def test_what_the_first_cannot_use_goes_to_the_next() -> None:
    leases = book()
    want(leases, b"top1", b"gpu", 3)
    want(leases, b"low1", b"cpu", 100)
    grant(leases)
    assert (held(leases, b"top1"), held(leases, b"low1")) == (3, 5)


def test_everybody_in_a_priority_has_a_turn() -> None:
    specs = [JobSpec(job_id=f"j{number:03}".encode(), share=1 + number % 5) for number in range(20)]
    leases = book(*specs)
    for spec in specs:
        want(leases, spec.job_id, b"two", 1_000)
    served = collections.Counter(one.job for one, _ in grant(leases))
    for _ in range(600):
        lease = min(leases.leases.values(), key=lambda lease: lease.lease_id)
        leases.give_back(lease.lease_id)
        served.update(one.job for one, _ in grant(leases))
    for spec in specs:  # four have room at a time, so all but those have nothing: turns go by shares
        assert served[spec.job_id] == pytest.approx(604 * spec.share / 60, abs=2), (spec, served)


def test_who_comes_late_has_not_saved_turns_up() -> None:
    specs = [JobSpec(job_id=f"j{number}".encode()) for number in range(3)]
    leases = book(*specs)
    for spec in specs[:2]:
        want(leases, spec.job_id, b"all", 1_000)
    turn_of: list[bytes] = []
    for number in range(90):
        if number == 30:
            want(leases, b"j2", b"all", 1_000)
        turn_of += [one.job for one, _ in grant(leases)]
        for lease_id in list(leases.leases):
            leases.give_back(lease_id)
    assert turn_of[30:].count(b"j2") == 20


def test_a_portion_bounds_a_job_and_more_is_asked_for_once() -> None:
    leases = book()
    want(leases, b"poor", b"cpu", 5)
    assert grant(leases) == []
    [shortage] = leases.shares.take_shortages()
    assert (shortage.job, dict(shortage.unit), shortage.count) == (b"poor", {"CPU": UNIT}, 5)
    assert leases.shares.take_shortages() == []
    leases.shares.allowed(b"poor", {"CPU": 2 * UNIT})
    assert len(grant(leases)) == 2


def test_while_others_lack_quota_what_is_given_back_leaves_the_portion() -> None:
    leases = book()
    leases.shares.allowed(b"poor", {"CPU": 2 * UNIT})
    want(leases, b"poor", b"cpu", 1)
    [(_, lease)] = grant(leases)
    leases.shares.tight(b"poor", True)
    assert leases.shares.take_returns() == {b"poor": {"CPU": UNIT}}
    assert leases.to_give_back(lambda holder: True) == {b"poor"}
    leases.give_back(lease.lease_id)
    assert leases.shares.take_returns() == {b"poor": {"CPU": UNIT}}
    assert leases.shares.portions() == {}


def test_a_claim_keeps_room_from_those_who_are_served_later_only() -> None:
    leases = book()
    want(leases, b"low1", b"cpu", 6)
    grant(leases)
    leases.claim("elsewhere", b"top1", ResourceSet.of(CPU=2))
    want(leases, b"low1", b"cpu", 2)
    assert grant(leases) == []
    assert "served first" in leases.wants[0].reason
    assert isinstance(
        leases.grant_here(b"top1", b"x", Demand(resources=ResourceSet.of(CPU=1)), 0, b"top1"), Lease
    )
    leases.unclaim("elsewhere")
    assert len(grant(leases)) == 1
    leases.claim("elsewhere", b"top1", ResourceSet.of(CPU=1))
    assert leases.to_give_back(lambda holder: True) == {b"low1", b"top1"} - {b"top1"}


def test_what_others_lend_counts_like_what_is_here() -> None:
    away = NodeID(b"othernod")
    shares = Shares(FairSharing().rank)
    shares.total = ResourceSet.of(CPU=20).units
    room = [10]

    def elsewhere(demand: Demand, available: ResourceSet, class_key: bytes = b"") -> Decision:
        if not room[0]:
            return Wait("all nodes are full")
        room[0] -= 1
        return Placement(away)

    leases = LeaseBook(ResourceSet(), {}, elsewhere, NODE, shares=shares)
    want(leases, b"low1", b"cpu", 100)
    want(leases, b"low3", b"cpu", 100)
    forwards = [one.job for one, found in leases.grant() if isinstance(found, Forward)]
    assert (forwards.count(b"low1"), forwards.count(b"low3")) == (5, 5)
    leases.want(b"low1", b"low1cpu", Demand(resources=DEMANDS[b"cpu"]), 0, 0, b"low1")
    assert shares.rank(b"low1")[1] == 0, "what was asked for and is not wanted counts no more"
