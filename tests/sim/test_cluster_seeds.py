"""Thousands of clusters, each from a seed: nothing leaks, nothing ends twice, nothing runs too often, nothing hangs.

A failure names its seed. `pytest tests/sim/test_cluster_seeds.py --sim-seed=N -k replay` runs that one alone.
"""

from __future__ import annotations

import attrs
import pytest

from shoal.sim.cluster.head import Head
from shoal.sim.cluster.model import Broken, ClusterModel, Outcome, Setup, setup_of
from shoal.sim.cluster.work import ActorWork, GroupWork, TaskWork, Work
from shoal.sim.faults import Fault
from shoal.sim.network import Connection, Weather

FAST, SLOW = 300, 5000


def run(seed: int) -> Outcome:
    try:
        return ClusterModel(setup_of(seed)).run()
    except Broken as error:
        pytest.fail(f"{error}\n\nreplay: pytest tests/sim/test_cluster_seeds.py --sim-seed={seed} -k replay")


@pytest.mark.parametrize("part", range(6))
def test_seeds(part: int) -> None:
    size = FAST // 6
    endings: set[str] = set()
    for seed in range(part * size, (part + 1) * size):
        endings |= set(run(seed).outcomes.values())
    # The faults are felt: else the rules above would say nothing.
    assert {"done", "worker crashed", "argument failed"} <= endings


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(10))
def test_many_seeds(part: int) -> None:
    size = SLOW // 10
    for seed in range(10_000 + part * size, 10_000 + (part + 1) * size):
        run(seed)


def test_replay(request: pytest.FixtureRequest) -> None:
    chosen = request.config.getoption("--sim-seed", default=None)
    seeds = [4, 9, 101, 1713] if chosen is None else [chosen]
    for seed in seeds:
        one, two = run(seed), run(seed)
        assert one == two
    assert run(seeds[0]).digest != run(seeds[0] + 1).digest


class Steady:
    """Setups without chance, to see single faults."""

    QUIET = Weather(jitter=0.0)

    @staticmethod
    def outcome(
        work: Work, *faults: Fault, nodes: int = 3, cpus: float = 2.0
    ) -> tuple[ClusterModel, Outcome]:
        setup = Setup(
            seed=1,
            nodes=nodes,
            cpus=cpus,
            works=(work,),
            faults=faults,
            weather=Steady.QUIET,
            scheduler="spread",
        )
        model = ClusterModel(setup)
        return model, model.run()


def kill(node: int, at: float, seconds: float = 0.0) -> Fault:
    return Fault(kind="kill_node", at=at, node=node, seconds=seconds)


class TestTasks:
    WORK = Work(tasks=tuple(TaskWork(name=f"t{i}", seconds=4.0, max_retries=1, cpus=2.0) for i in range(3)))

    def test_without_faults_each_runs_once(self) -> None:
        model, outcome = Steady.outcome(self.WORK)
        assert set(outcome.outcomes.values()) == {"done"}
        assert outcome.executions == 3
        assert outcome.seconds < 20
        assert max(model.truth.executions.values()) == 1

    def test_a_dead_node_costs_a_retry(self) -> None:
        for node in range(3):
            model, outcome = Steady.outcome(self.WORK, kill(node, 2.0))
            assert set(outcome.outcomes.values()) == {"done"}
            ran = sum("execute" in line and f"node-{node}/1" in line for line in model.world.trace)
            assert outcome.executions == 3 + ran

    def test_retries_have_an_end(self) -> None:
        work = Work(tasks=(TaskWork(name="t", seconds=4.0, max_retries=1),))
        faults = [Fault(kind="kill_worker", at=at / 2, node=node) for at in range(1, 60) for node in range(3)]
        model, outcome = Steady.outcome(work, *faults)
        assert outcome.outcomes == {"t": "worker crashed"}
        assert model.truth.executions == {"t": 2}

    def test_lost_results_are_made_again(self) -> None:
        tasks = (
            TaskWork(name="make", seconds=1.0, result_bytes=10_000_000, max_retries=2),
            TaskWork(name="use", seconds=1.0, needs=("make",), submit_at=30.0),
        )
        setup = Setup(seed=1, nodes=3, works=(Work(tasks=tasks),), weather=Steady.QUIET, scheduler="spread")
        first = ClusterModel(setup, keep_trace=True)
        first.run()
        where = next(line.split()[4] for line in first.world.trace if "execute make" in line)
        node = int(where.partition("/")[0].rpartition("-")[2])
        model, outcome = Steady.outcome(Work(tasks=tasks), kill(node, 10.0))
        assert outcome.outcomes == {"make": "done", "use": "done"}
        assert model.truth.executions == {"make": 2, "use": 1}


class TestActors:
    WORK = Work(
        actors=(ActorWork(name="a", calls=10, call_seconds=1.0, max_restarts=1, max_task_retries=-1),)
    )

    def test_calls_go_on_after_a_restart(self) -> None:
        work = Work(actors=(attrs.evolve(self.WORK.actors[0], max_task_retries=2),))
        kills = [Fault(kind="kill_worker", at=3.0, node=node) for node in range(3)]
        _, outcome = Steady.outcome(work, *kills)
        assert set(outcome.outcomes.values()) == {"done"}

    def test_a_cut_off_actor_is_fenced_before_it_lives_elsewhere(self) -> None:
        work = Work(actors=(attrs.evolve(self.WORK.actors[0], max_task_retries=2, calls=30),))
        cuts = [Fault(kind="partition", at=3.0, node=0, seconds=60.0)]
        model, outcome = Steady.outcome(work, *cuts, nodes=2)
        story = "\n".join(model.world.trace)
        assert "done" in outcome.outcomes.values()
        assert not model.truth.wrongs
        assert "node dead node-0" in story

    def test_the_head_may_die_while_actors_work(self) -> None:
        work = Work(actors=(attrs.evolve(self.WORK.actors[0], max_restarts=0, max_task_retries=0),))
        # Longer than a daemon waits for a sign of the head, and it would have to fence the actor.
        _, outcome = Steady.outcome(work, Fault(kind="kill_head", at=2.0, seconds=1.5))
        assert set(outcome.outcomes.values()) == {"done"}


class TestGroups:
    def test_a_group_is_had_whole_and_given_back(self) -> None:
        work = Work(
            groups=(GroupWork(name="g", bundles=(2.0, 2.0, 2.0), strategy="SPREAD"),),
            tasks=tuple(TaskWork(name=f"t{i}", group="g", submit_at=1.0) for i in range(6)),
        )
        model, outcome = Steady.outcome(work)
        assert set(outcome.outcomes.values()) == {"done"}
        assert model.head.groups.table()[0]["state"] == "REMOVED"

    def test_a_group_ends_with_a_node_of_its_own(self) -> None:
        work = Work(
            groups=(GroupWork(name="g", bundles=(2.0, 2.0, 2.0), strategy="SPREAD"),),
            tasks=tuple(TaskWork(name=f"t{i}", group="g", seconds=20.0, max_retries=1) for i in range(6)),
        )
        _, outcome = Steady.outcome(work, kill(2, 5.0))
        assert "group removed" in outcome.outcomes.values()


class TestTheRulesThemselves:
    """What the model is there to find, it finds: each of these processes does one thing wrong."""

    def test_a_lease_that_is_not_given_back_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from shoal.sim.cluster.daemon import Daemon

        monkeypatch.setattr(Daemon, "on_return", lambda self, end, lease_id: None)
        with pytest.raises(Broken, match="leases left"):
            Steady.outcome(TestTasks.WORK)

    def test_one_attempt_too_many_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from shoal.sim.cluster.driver import Driver, Task

        monkeypatch.setattr(Driver, "_worker_lost", lambda self, task: self._again(task))
        work = Work(tasks=(TaskWork(name="t", seconds=4.0, max_retries=0),))
        faults = [Fault(kind="kill_worker", at=2.0, node=node) for node in range(3)]
        with pytest.raises(Broken, match="executed 2 times, 1 are allowed"):
            Steady.outcome(work, *faults)
        assert Task is not None

    def test_an_actor_that_lives_twice_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from shoal.sim.cluster.daemon import Daemon

        monkeypatch.setattr(Daemon, "_fence", lambda self: None)
        work = Work(
            actors=(ActorWork(name="a", calls=30, call_seconds=1.0, max_restarts=1, max_task_retries=2),)
        )
        found = 0
        for node in range(2):
            try:
                Steady.outcome(work, Fault(kind="partition", at=3.0, node=node, seconds=60.0), nodes=2)
            except Broken as error:
                found += "lives in" in str(error)
        assert found == 1  # on one of the two nodes the actor was

    def test_what_never_ends_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def deaf(self: Head, end: Connection, *rest: object) -> None:
            """Hear nothing of actors."""

        monkeypatch.setattr(Head, "on_create_actor", deaf)
        with pytest.raises(Broken, match="have not ended: a PENDING"):
            Steady.outcome(TestActors.WORK)
