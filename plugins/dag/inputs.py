"""The input of a graph and its parts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.dag.failures import GraphError
from shoal.dag.node import DAGInputData, DAGNode
from shoal.errors import describe

_ONE_INPUT = "a graph has one InputNode: make it once, `with InputNode() as inp:`, and use its parts"


class InputNode(DAGNode):
    """What `execute` is given. Used as `with InputNode() as inp:`; `inp[0]`, `inp.name` and `inp["name"]` are parts."""

    is_input: ClassVar[bool] = True

    def __init__(
        self,
        *args: Any,
        input_type: Any = None,
        _other_args_to_resolve: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if args or kwargs:
            raise GraphError("InputNode() takes no values: they are given to execute()")
        super().__init__((), {}, {}, _other_args_to_resolve)
        self._input_type = input_type
        self._context: dict[str, Any] = {}

    def __enter__(self) -> InputNode:
        """Return the node itself, for the block that builds the graph. Raises GraphError inside another such block."""
        if getattr(_building, "inside", False):
            raise GraphError(_ONE_INPUT)
        _building.inside = True
        return self

    def __exit__(self, *args: Any) -> None:
        """End the block."""
        _building.inside = False

    def __getitem__(self, key: int | str) -> InputAttributeNode:
        """Return the node of one argument of `execute`, by position or name."""
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise GraphError(f"a part of the input is named by a number or a name, not {describe(key)}")
        return InputAttributeNode(self, key, "__getitem__")

    def __getattr__(self, name: str) -> InputAttributeNode:
        if name.startswith("_"):
            raise AttributeError(name)
        return InputAttributeNode(self, name, "__getattr__")

    def set_context(self, key: str, val: Any) -> None:
        """Remember a value under a name, for who builds the graph."""
        self._context[key] = val

    def get_result_type(self) -> Any:
        """Return what `input_type` said."""
        return self._input_type


_building: Any = threading.local()


class InputAttributeNode(DAGNode):
    """One argument of `execute`, or an item or attribute of the only one."""

    def __init__(
        self, dag_input_node: InputNode, key: int | str, accessor_method: str, input_type: Any = None
    ) -> None:
        super().__init__((dag_input_node,), {}, {})
        self._key = key
        self._accessor = accessor_method
        self._input_type = input_type

    @property
    def key(self) -> int | str:
        """Its position or name."""
        return self._key

    @property
    def step_label(self) -> str:
        return f"input[{self._key!r}]"

    def get_result_type(self) -> Any:
        """Return what the input's `input_type` says of this part."""
        return self._input_type

    def _run(self) -> Any:
        return part_of(self._bound_args[0], self._key, self._accessor)


def part_of(given: Any, key: int | str, accessor: str) -> Any:
    """Return the part of an execution's input that a node names. Raises GraphError."""
    if isinstance(given, DAGInputData):
        return given[key]
    try:
        return getattr(given, str(key)) if accessor == "__getattr__" else given[key]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        if key == 0:
            return given  # the only argument, and nothing that has items
        raise GraphError(f"the graph uses input {key!r}, which {describe(given)} does not have") from error
