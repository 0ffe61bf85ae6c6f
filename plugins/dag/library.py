"""What `.bind()` of the public API finds under the name `dag`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.dag.nodes import ClassNode, FunctionNode, method_nodes
from shoal.interfaces.graphs import GraphLibrary


class DagLibrary(GraphLibrary):
    """Makes the nodes of `shoal.dag`."""

    name: ClassVar[str] = "dag"

    def function_node(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
    ) -> FunctionNode:
        return FunctionNode(function, args, kwargs, options)

    def class_node(
        self, actor_class: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
    ) -> ClassNode:
        return ClassNode(actor_class, args, kwargs, options)

    def method_node(
        self,
        handle: Any,
        method: Any,
        name: str,
        num_returns: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        return method_nodes(handle, method, None, name, num_returns, args, kwargs, {})
