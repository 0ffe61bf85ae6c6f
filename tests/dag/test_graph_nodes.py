"""`.bind()` and `execute()`: graphs that run as ordinary calls."""

from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal.dag import (
    ClassMethodNode,
    DAGContext,
    FunctionNode,
    GraphError,
    InputAttributeNode,
    InputNode,
    MultiOutputNode,
    plot,
)
from shoal.errors import ConfigError

pytestmark = pytest.mark.usefixtures("session")


@shoal.remote
def add(left: int, right: int) -> int:
    return left + right


@shoal.remote
def total(numbers: list[Any]) -> int:
    return sum(shoal.get(numbers))


@shoal.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.total = start

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    def both(self) -> tuple[int, int]:
        return self.total, -self.total


def test_a_function_of_functions() -> None:
    graph = add.bind(add.bind(1, 2), right=10)
    assert isinstance(graph, FunctionNode)
    assert shoal.get(graph.execute()) == 13


def test_a_shared_node_runs_once() -> None:
    counter = Counter.remote()
    shared = counter.add.bind(1)
    assert shoal.get(add.bind(shared, shared).execute()) == 2
    assert shoal.get(counter.add.remote(0)) == 1


def test_nodes_inside_lists_become_references() -> None:
    assert shoal.get(total.bind([add.bind(1, 2), add.bind(3, 4)]).execute()) == 10


def test_the_input_and_its_parts() -> None:
    with InputNode() as inp:
        whole = add.bind(inp, 1)
        parts = add.bind(inp[0], inp.right)
        items = add.bind(inp["left"], inp["right"])
    assert isinstance(parts.get_args()[0], InputAttributeNode)
    assert shoal.get(whole.execute(4)) == 5
    assert shoal.get(parts.execute(4, right=5)) == 9
    assert shoal.get(items.execute({"left": 1, "right": 6})) == 7


def test_an_actor_of_the_graph_is_made_for_each_execution() -> None:
    with InputNode() as inp:
        graph = Counter.bind(10).add.bind(inp)
    assert [shoal.get(graph.execute(1)) for _ in range(2)] == [11, 11]


def test_several_outputs() -> None:
    counter = Counter.remote(2)
    with InputNode() as inp:
        first = counter.add.bind(inp)
        graph = MultiOutputNode([first, add.bind(first, 100)])
    assert shoal.get(graph.execute(3)) == [5, 105]


def test_a_method_with_several_returns_binds_to_several_nodes() -> None:
    counter = Counter.remote(4)
    plus, minus = counter.both.options(num_returns=2).bind()
    assert isinstance(plus, ClassMethodNode)
    assert (plus.output_idx, minus.output_idx) == (0, 1)
    assert plus.class_method_call is minus.class_method_call
    assert shoal.get(add.bind(plus, minus).execute()) == 0


def test_options_of_a_node() -> None:
    node = add.bind(1, 2).options(name="sum")
    assert node.get_options()["name"] == "sum"
    assert shoal.get(node.execute()) == 3


def test_references_of_the_last_execution_are_kept_if_asked_for() -> None:
    inner = add.bind(1, 2)
    graph = add.bind(inner, 3)
    graph.execute(_ray_cache_refs=True)
    kept = graph.get_object_refs_from_last_execute()
    assert shoal.get(kept[inner.get_stable_uuid()]) == 3
    graph.clear_cache()
    assert graph.get_object_refs_from_last_execute() == {}


def test_walking_a_graph() -> None:
    graph = add.bind(add.bind(1, 2), 3)
    seen: list[Any] = []
    graph.traverse_and_apply(lambda node: seen.append(node.get_args()[1]))
    assert seen == [2, 3]
    doubled = graph.apply_recursive(
        lambda node: FunctionNode(add, [a * 2 if isinstance(a, int) else a for a in node.get_args()], {}, {})
    )
    assert shoal.get(doubled.execute()) == 12
    found = graph.apply_functional([1, ["x"]], lambda item: isinstance(item, int), lambda item: item + 1)
    assert found == [2, ["x"]]


def test_what_is_wrong_with_a_call_of_a_graph_is_said() -> None:
    with InputNode() as inp:
        graph = add.bind(inp, 1)
        part = add.bind(inp[1], 1)
    with pytest.raises(GraphError, match="needs its value"):
        graph.execute()
    with pytest.raises(GraphError, match="takes no arguments"):
        add.bind(1, 2).execute(3)
    with pytest.raises(GraphError, match=r"input 1, which 5 does not have"):
        part.execute(5)
    with pytest.raises(GraphError, match="given to execute"):
        InputNode(1)
    with pytest.raises(GraphError, match="one InputNode"), InputNode(), InputNode():
        pass
    InputNode().__exit__()
    with pytest.raises(GraphError, match="list of nodes, not 3"):
        MultiOutputNode([3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="missing"):
        Counter.remote().add.bind()
    with pytest.raises(AttributeError, match="no method 'sub'; it has: add, both"):
        Counter.bind().sub  # noqa: B018


def test_a_cycle_made_by_hand_is_found() -> None:
    node = add.bind(1, 2)
    node._bound_args = (add.bind(node, 1), 2)
    with pytest.raises(GraphError, match="cycle"):
        node.execute()


def test_pictures(tmp_path: Any) -> None:
    with InputNode() as inp:
        graph = add.bind(inp, add.bind(inp, 1))
    assert plot(graph).splitlines() == ["0: InputNode", "1: add() <- 0", "2: add() <- 0, 1"]
    plot(graph, str(tmp_path / "graph.dot"))
    source = (tmp_path / "graph.dot").read_text()
    assert "n1 -> n2" in source
    assert 'label="add()"' in source


def test_defaults_are_checked() -> None:
    context = DAGContext.get_current()
    assert DAGContext.get_current() is context
    with pytest.raises(ConfigError, match="buffer_size_bytes must be a whole number"):
        context.buffer_size_bytes = 0
    with pytest.raises(ConfigError, match="get_timeout must be a number of seconds"):
        DAGContext(get_timeout=-1)
