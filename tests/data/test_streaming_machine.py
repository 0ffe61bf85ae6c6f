"""The executor's decisions over random pipelines, in random orders of events."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import MAPS, ROW, Pipeline, Step, World, make_pipeline, make_zip

from shoal.data.execution.machine import Machine

lengths = st.lists(st.integers(0, 12), max_size=8)
steps = st.lists(
    st.one_of(
        st.builds(Step, st.sampled_from(sorted(MAPS)), st.sampled_from([None, 5, 40])),
        st.builds(Step, st.just("pool"), st.integers(1, 3)),
        st.builds(Step, st.just("limit"), st.integers(0, 30)),
        st.builds(Step, st.just("exchange"), st.integers(1, 4)),
        st.builds(Step, st.just("realign"), st.integers(1, 4)),
    ),
    max_size=4,
)
SETTINGS = settings(max_examples=200, deadline=None)


def world(pipeline: Pipeline, cpus: int, budget: int, seed: int) -> World:
    # The shell leaves room for tasks beside actors; here there are simply enough CPUs for the first actors and a task.
    pools = sum(operator.pool.first for operator in pipeline.operators if operator.pool is not None)
    machine = Machine(pipeline.operators, pipeline.consumers, cpus=cpus + pools, budget=budget, guess=4 * ROW)
    return World(machine, pipeline, random.Random(seed))


@SETTINGS
@given(
    sources=st.lists(lengths, min_size=1, max_size=2),
    steps=steps,
    ordered=st.booleans(),
    cpus=st.integers(1, 4),
    budget=st.integers(1, 2000),
    patience=st.sampled_from([0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**20),
)
def test_exactly_the_right_rows_come_out_and_memory_is_bounded(
    sources: list[list[int]],
    steps: list[Step],
    ordered: bool,
    cpus: int,
    budget: int,
    patience: float,
    seed: int,
) -> None:
    pipeline = make_pipeline(sources, steps, ordered)
    run = world(pipeline, cpus, budget, seed)
    run.run(patience)
    if pipeline.exact:
        assert run.taken == pipeline.rows
    elif pipeline.limited:
        assert not Counter(run.taken) - Counter(pipeline.rows)
    else:
        assert Counter(run.taken) == Counter(pipeline.rows)
    assert run.jobs == {}, "no task runs on"
    assert run.actors == {}, "no actor is left"
    # Over the budget there is at most a block that was asked for before it was known to be large, for each task.
    assert run.peak <= budget + run.largest * (run.most_jobs + len(pipeline.operators))


@SETTINGS
@given(sources=st.lists(lengths, min_size=1, max_size=2), steps=steps, seed=st.integers(0, 2**20))
def test_a_budget_that_no_block_fits_in_makes_it_slow_not_stuck(
    sources: list[list[int]], steps: list[Step], seed: int
) -> None:
    pipeline = make_pipeline(sources, steps, ordered=True)
    run = world(pipeline, cpus=2, budget=0, seed=seed)
    run.run(0.2)
    assert run.taken == pipeline.rows
    assert run.peak <= run.largest * (1 + len(pipeline.operators))


@SETTINGS
@given(
    sources=st.lists(lengths, min_size=1, max_size=2),
    steps=steps,
    events=st.integers(0, 60),
    fails=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_an_error_or_a_consumer_that_stops_ends_all_tasks_and_actors(
    sources: list[list[int]], steps: list[Step], events: int, fails: bool, seed: int
) -> None:
    run = world(make_pipeline(sources, steps, ordered=True), cpus=3, budget=1000, seed=seed)
    for _ in range(events):
        run.do(run.machine.decide())
        if ready := run.ready():
            run.go_on(run.random.choice(ready))
    run.do(run.machine.decide())
    if fails and run.jobs:
        task = run.random.choice(sorted(run.jobs))
        run.machine.failed(task, ValueError("the user's"))
        # What the failed task held is gone with it; its stream says nothing further.
        actions = run.machine.decide()
        assert str(run.machine.error) == "the user's"
    else:
        actions = run.machine.stop()
    run.do(actions)
    assert run.jobs == {}
    assert run.actors == {}
    assert run.machine.stop() == []


@SETTINGS
@given(left=lengths, right=lengths, seed=st.integers(0, 2**20))
def test_two_inputs_side_by_side_must_have_the_same_length(
    left: list[int], right: list[int], seed: int
) -> None:
    run = world(make_zip(left, right), cpus=2, budget=1000, seed=seed)
    run.run()
    if sum(left) == sum(right):
        assert run.taken == run.pipeline.rows
    else:
        assert f"not {sum(left)} and {sum(right)} rows" in str(run.machine.error)


def test_what_a_slow_consumer_has_not_taken_holds_the_first_step_back() -> None:
    pipeline = make_pipeline([[4] * 200], [Step("same"), Step("same")], ordered=True)
    run = world(pipeline, cpus=4, budget=40 * ROW, seed=1)
    for _ in range(500):
        run.do(run.machine.decide())
        if ready := run.ready():
            run.go_on(run.random.choice(ready))
    assert run.machine.waiting() <= 40 * ROW + 3 * run.largest
    assert run.machine.waiting() >= 10 * ROW, "it works ahead as far as it may"
    run.run()
    assert run.taken == pipeline.rows


def test_an_operator_leaves_the_others_their_part_of_the_budget() -> None:
    pipeline = make_pipeline([[4] * 200], [Step("same"), Step("same"), Step("same")], ordered=True)
    run = world(pipeline, cpus=100, budget=90 * ROW, seed=1)
    for _ in range(500):
        run.do(run.machine.decide())
        if tasks := [task for task in run.ready() if run.jobs[task].work.operator == 1]:
            run.go_on(tasks[0])
    # Half of the budget is shared, and of the other half a third is the first step's own.
    assert 30 * ROW <= run.machine.waiting() <= 60 * ROW + 2 * run.largest
    run.run()
    assert run.taken == pipeline.rows


def test_a_late_block_of_a_cancelled_task_is_dropped() -> None:
    run = world(make_pipeline([[4, 4]], [Step("same")], ordered=True), cpus=1, budget=1000, seed=1)
    run.do(run.machine.decide())
    [task] = run.jobs
    run.do(run.machine.stop())
    run.machine.failed(task, ValueError("too late"))
    run.machine.finished(task)
    assert run.machine.error is None
    assert run.machine.done


def test_a_pool_shrinks_while_there_is_nothing_to_do_and_grows_again() -> None:
    pipeline = make_pipeline([[4] * 30], [Step("same"), Step("pool", 3)], ordered=True)
    run = world(pipeline, cpus=5, budget=1000 * ROW, seed=1)
    pool = pipeline.operators[-1].pool
    assert pool is not None

    def step(wanted: int) -> None:
        """Let only tasks of one operator go on, the last first."""
        run.do(run.machine.decide())
        tasks = [task for task in run.ready() if run.jobs[task].work.operator == wanted]
        if tasks:
            run.go_on(tasks[0])

    for _ in range(40):  # blocks pile up before the pool
        step(1)
    assert len(pool.actors) == 3
    for _ in range(200):
        step(2)
    assert len(pool.actors) == 1, "two had nothing to do"
    run.run()
    assert run.taken == pipeline.rows
