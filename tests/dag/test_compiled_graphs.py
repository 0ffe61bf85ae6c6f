"""Compiled graphs on every engine: channels where processes share memory, ordinary calls where they do not."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

import shoal
from shoal.dag import (
    CapacityExceeded,
    ChannelClosed,
    CompiledDAGRef,
    GraphError,
    InputNode,
    MultiOutputNode,
)
from shoal.errors import ConfigError, NotSerializable

pytestmark = pytest.mark.usefixtures("session")


@shoal.remote(num_cpus=0)
class Stage:
    def __init__(self, amount: int = 1) -> None:
        self.amount = amount
        self.calls = 0

    def add(self, value: int) -> int:
        self.calls += 1
        return value + self.amount

    def both(self, left: Any, right: Any) -> Any:
        return left, right

    def fail(self, value: int) -> int:
        if value % 2:
            raise ValueError(f"{value} is odd")
        return value

    def nested(self, parts: dict[str, list[int]], factor: int = 1) -> int:
        return sum(parts["numbers"]) * factor

    def pair(self, value: int) -> tuple[int, int]:
        return value, -value

    def unpicklable(self, value: int) -> Any:
        return threading.Lock()

    def count(self) -> int:
        return self.calls


@shoal.remote(num_cpus=0)
class AsyncStage:
    async def add(self, value: int) -> int:
        await asyncio.sleep(0)
        return value + 1


def chain(length: int = 3) -> tuple[Any, list[Any]]:
    stages = [Stage.remote() for _ in range(length)]
    with InputNode() as inp:
        node: Any = inp
        for stage in stages:
            node = stage.add.bind(node)
    return node, stages


def test_steps_one_by_one_and_several_under_way() -> None:
    graph, stages = chain()
    with graph.experimental_compile() as compiled:
        assert [shoal.get(compiled.execute(number)) for number in range(20)] == list(range(3, 23))
        refs = [compiled.execute(number) for number in range(10)]
        assert shoal.get(refs) == list(range(3, 13))
        assert shoal.get(refs[4]) == 7  # again
        assert isinstance(refs[0], CompiledDAGRef)
    assert shoal.get(stages[0].count.remote()) == 30


def test_results_may_be_got_in_any_order() -> None:
    graph, _ = chain(2)
    with graph.experimental_compile() as compiled:
        refs = [compiled.execute(number) for number in range(4)]
        assert [shoal.get(refs[index]) for index in (3, 0, 2, 1)] == [5, 2, 4, 3]


def test_an_error_is_that_executions_alone() -> None:
    stage, after = Stage.remote(), Stage.remote()
    with InputNode() as inp:
        graph = after.add.bind(stage.fail.bind(inp))
    with graph.experimental_compile() as compiled:
        refs = [compiled.execute(number) for number in range(4)]
        for number in (0, 2):
            assert shoal.get(refs[number]) == number + 1
        for number in (1, 3):
            with pytest.raises(ValueError, match=f"{number} is odd") as caught:
                shoal.get(refs[number])
            assert "in fail" in caught.value.remote_traceback  # type: ignore[attr-defined]
    assert shoal.get(after.count.remote()) == 2


def test_a_diamond_with_one_actor_twice_and_nested_arguments() -> None:
    top, side = Stage.remote(10), Stage.remote(100)
    with InputNode() as inp:
        first = top.add.bind(inp)
        second = side.add.bind(first)
        graph = top.nested.bind({"numbers": [first, second, 1000]}, factor=inp)
    with graph.experimental_compile() as compiled:
        assert shoal.get(compiled.execute(1)) == 11 + 111 + 1000
        assert shoal.get(compiled.execute(2)) == (12 + 112 + 1000) * 2


def test_parts_of_the_input() -> None:
    stage, other = Stage.remote(), Stage.remote()
    with InputNode() as inp:
        graph = MultiOutputNode([stage.both.bind(inp[0], inp.name), other.both.bind(inp["name"], inp[1])])
    with graph.experimental_compile() as compiled:
        assert shoal.get(compiled.execute(1, 2, name="x")) == [(1, "x"), ("x", 2)]
        with pytest.raises(GraphError, match=r"uses input 1; execute\(\) was given 1 by position"):
            shoal.get(compiled.execute(1, name="x")[1])


def test_several_outputs_and_the_same_twice() -> None:
    stage, other = Stage.remote(), Stage.remote()
    with InputNode() as inp:
        first = stage.add.bind(inp)
        graph = MultiOutputNode([first, other.add.bind(first), first])
    with graph.experimental_compile() as compiled:
        assert shoal.get(compiled.execute(1)) == [2, 3, 2]


def test_a_method_with_several_returns() -> None:
    stage, other = Stage.remote(), Stage.remote()
    with InputNode() as inp:
        plus, minus = stage.pair.options(num_returns=2).bind(inp)
        graph = MultiOutputNode([other.both.bind(plus, minus), minus])
    with graph.experimental_compile() as compiled:
        assert shoal.get(compiled.execute(4)) == [(4, -4), -4]


def test_actors_that_the_graph_makes_live_as_long_as_it() -> None:
    with InputNode() as inp:
        graph = Stage.bind(5).add.bind(inp)
    with graph.experimental_compile() as compiled:
        assert [shoal.get(compiled.execute(number)) for number in (1, 2)] == [6, 7]


def test_coroutine_methods() -> None:
    stage, other = AsyncStage.remote(), Stage.remote()
    with InputNode() as inp:
        graph = other.add.bind(stage.add.bind(inp))
    with graph.experimental_compile() as compiled:
        assert [shoal.get(compiled.execute(number)) for number in range(3)] == [2, 3, 4]


def test_awaited_from_asyncio() -> None:
    stage, other = Stage.remote(), Stage.remote()
    with InputNode() as inp:
        first = stage.fail.bind(inp)
        graph = MultiOutputNode([first, other.add.bind(first)])

    async def program(compiled: Any) -> None:
        begun = [await compiled.execute_async(number) for number in (0, 1, 2)]
        assert [await future for future in begun[0]] == [0, 1]
        with pytest.raises(ValueError, match="1 is odd"):
            await begun[1][1]
        assert await begun[2][1] == 3
        assert await begun[2][1] == 3

    with graph.experimental_compile(enable_asyncio=True) as compiled:
        asyncio.run(program(compiled))
        with pytest.raises(GraphError, match="execute_async"):
            compiled.execute(1)


def test_as_many_executions_as_asked_for() -> None:
    graph, _ = chain(1)
    with graph.experimental_compile(_max_inflight_executions=2) as compiled:
        refs = [compiled.execute(1), compiled.execute(2)]
        with pytest.raises(CapacityExceeded, match="2 executions are under way"):
            compiled.execute(3)
        assert shoal.get(refs) == [2, 3]
        assert shoal.get(compiled.execute(3)) == 4


def test_results_that_nobody_wants_count_no_longer() -> None:
    graph, _ = chain(1)
    with graph.experimental_compile(_max_inflight_executions=2) as compiled:
        for number in range(7):
            compiled.execute(number)
            gc.collect()
        assert shoal.get(compiled.execute(7)) == 8


def test_as_many_waiting_results_as_asked_for() -> None:
    graph, _ = chain(1)
    with graph.experimental_compile(_max_buffered_results=1) as compiled:
        refs = [compiled.execute(number) for number in range(3)]
        with pytest.raises(CapacityExceeded, match="results of earlier executions"):
            shoal.get(refs[2])
        assert shoal.get(refs) == [1, 2, 3]


def test_what_cannot_travel() -> None:
    stage, other = Stage.remote(), Stage.remote()
    with InputNode() as inp:
        graph = other.both.bind(stage.unpicklable.bind(inp), 1)
    with graph.experimental_compile() as compiled:
        with pytest.raises(NotSerializable):
            shoal.get(compiled.execute(1))
        with pytest.raises(NotSerializable):
            compiled.execute(threading.Lock())


def test_after_teardown() -> None:
    graph, stages = chain(2)
    compiled = graph.experimental_compile()
    assert shoal.get(compiled.execute(1)) == 3
    compiled.teardown()
    compiled.teardown()
    assert compiled.is_teardown
    with pytest.raises(ChannelClosed, match="torn down"):
        compiled.execute(1)
    assert shoal.get(stages[0].add.remote(1)) == 2
    with graph.experimental_compile() as again:
        assert shoal.get(again.execute(1)) == 3


def test_teardown_may_end_the_actors() -> None:
    graph, stages = chain(1)
    graph.experimental_compile().teardown(kill_actors=True)
    with pytest.raises(shoal.exceptions.ActorDied):
        shoal.get(stages[0].add.remote(1), timeout=30)


def test_a_result_belongs_to_its_process() -> None:
    graph, stages = chain(1)
    with graph.experimental_compile() as compiled:
        ref = compiled.execute(1)
        with pytest.raises(NotSerializable):
            stages[0].add.remote([ref])
        assert shoal.get(ref) == 2


def test_graphs_that_cannot_be_compiled() -> None:
    stage = Stage.remote()

    @shoal.remote
    def task(value: Any) -> Any:
        return value

    with InputNode() as inp:
        of_task = stage.add.bind(task.bind(inp))
        constant = stage.both.bind(inp, Stage.remote().add.bind(1))
        made = Stage.bind(stage.add.bind(inp)).add.bind(inp)
        part = inp[0]
        good = stage.add.bind(inp)
    with pytest.raises(GraphError, match="is a task"):
        of_task.experimental_compile()
    with pytest.raises(GraphError, match="takes nothing from the graph"):
        constant.experimental_compile()
    with pytest.raises(GraphError, match="cannot be nodes"):
        made.experimental_compile()
    with pytest.raises(GraphError, match="starts at one InputNode, this one has 0"):
        stage.add.bind(1).experimental_compile()
    with pytest.raises(GraphError, match="end of a compiled graph"):
        part.experimental_compile()
    with pytest.raises(ConfigError, match="max_inflight_executions must be a whole number"):
        good.experimental_compile(_max_inflight_executions=0)
    with pytest.raises(ConfigError, match="_default_communicator"):
        good.experimental_compile(_default_communicator=object())


def test_a_picture_of_a_compiled_graph(tmp_path: Any) -> None:
    graph, _ = chain(2)
    with graph.experimental_compile() as compiled:
        assert compiled.visualize(format="ascii").splitlines()[-1] == "2: Stage.add() <- 1"
        source = compiled.visualize(str(tmp_path / "graph"), "dot", channel_details=True)
        assert (tmp_path / "graph.dot").read_text() == source
        assert 'n1 -> n2 [label="channel"]' in source
