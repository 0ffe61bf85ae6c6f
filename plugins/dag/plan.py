"""From nodes to what each actor does: checks a graph, and says which values cross between whom. No I/O."""

from __future__ import annotations

from typing import Any

import attrs

from shoal.dag.failures import GraphError
from shoal.dag.inputs import InputAttributeNode, InputNode
from shoal.dag.node import DAGNode, find_nodes, replace_nodes
from shoal.dag.nodes import ClassMethodNode, ClassNode, FunctionNode, MultiOutputNode
from shoal.dag.steps import WHOLE, InputPart, Source

DRIVER = None  # stands for the driver where an actor's handle may


@attrs.define
class Channel:
    """The values of one node on their way to other processes."""

    node: DAGNode
    writer: Any  # handle, or DRIVER
    readers: list[Any] = attrs.field(factory=list)


@attrs.define
class Graph:
    """A graph that was checked. `calls` are in an order in which each comes after what it needs."""

    root: DAGNode
    calls: list[ClassMethodNode]
    actors: list[Any]
    outputs: list[DAGNode]
    several: bool
    channels: dict[DAGNode, Channel]

    def slots_of(self, actor: Any) -> dict[DAGNode, int]:
        """Return where an actor keeps the value of each node that it makes or reads."""
        slots: dict[DAGNode, int] = {}
        for node in self.calls:
            if node.actor == actor:
                for needed in needed_nodes(node):
                    slots.setdefault(needed, len(slots))
                slots.setdefault(node, len(slots))
        return slots


def origin(node: DAGNode) -> DAGNode:
    """Return the node whose value travels: the input for its parts."""
    return node._bound_args[0] if isinstance(node, InputAttributeNode) else node


def needed_nodes(node: ClassMethodNode) -> list[DAGNode]:
    """Return the nodes whose values a call needs, in the order of its arguments; not the actor's own."""
    if node.class_method_call is not None:
        return [node.class_method_call]
    found = find_nodes((node.get_args(), node.get_kwargs()))
    return list(dict.fromkeys(origin(each) for each in found))


def template_of(value: Any, slots: dict[DAGNode, int]) -> Any:
    """Return an argument with each node replaced by where its value will be."""

    def place(node: DAGNode) -> Any:
        if isinstance(node, InputNode):
            return InputPart(slots[node], WHOLE)
        if isinstance(node, InputAttributeNode):
            return InputPart(slots[origin(node)], node.key)
        return Source(slots[node])

    return replace_nodes(value, place)


def with_actors(root: DAGNode) -> tuple[DAGNode, list[Any]]:
    """Return the graph with an actor made for each ClassNode, and these actors.

    Raises GraphError for one whose constructor needs the graph's input or another node's value.
    """
    made: dict[DAGNode, Any] = {}
    changed: dict[DAGNode, Any] = {}
    order = root.all_nodes()
    for node in order:
        if isinstance(node, ClassNode) and node.upstream_nodes:
            raise GraphError(
                f"{node!r} is made once, when the graph is compiled, so its arguments cannot be nodes; it got "
                f"{node.upstream_nodes[0]!r}"
            )
    for node in order:
        if isinstance(node, ClassNode):
            made[node] = changed[node] = node.make()
        else:
            changed[node] = node._with_parents(changed.__getitem__) if made else node
    return changed[root], list(made.values())


def check_graph(root: DAGNode) -> Graph:
    """Check a graph without ClassNodes and find its channels. Raises GraphError naming the node that does not fit."""
    order = root.all_nodes()
    inputs = [node for node in order if isinstance(node, InputNode)]
    if len(inputs) != 1:
        raise GraphError(
            f"a compiled graph starts at one InputNode, this one has {len(inputs)}: bind its first calls to "
            "`with InputNode() as inp`"
        )
    several = isinstance(root, MultiOutputNode)
    outputs = root.outputs if isinstance(root, MultiOutputNode) else [root]
    calls: list[ClassMethodNode] = []
    for node in order:
        if isinstance(node, FunctionNode):
            raise GraphError(
                f"{node!r} is a task: a compiled graph consists of methods of actors, which live in processes of their "
                "own. Make it a method, or use execute() without compiling"
            )
        if isinstance(node, MultiOutputNode) and node is not root:
            raise GraphError("a MultiOutputNode can only be the end of a graph")
        if isinstance(node, ClassMethodNode):
            if not needed_nodes(node):
                raise GraphError(
                    f"{node!r} takes nothing from the graph, so nothing says when it runs: bind it to the input"
                )
            returns = node.get_options().get("num_returns", 1)
            if not isinstance(returns, int) or returns < 1:
                raise GraphError(f"{node!r} has num_returns={returns!r}; a compiled graph needs 1 or more")
            calls.append(node)
    for node in outputs:
        if not isinstance(node, ClassMethodNode):
            raise GraphError(f"the end of a compiled graph is a method's call, not {node!r}")
    actors = list(dict.fromkeys(node.actor for node in calls))
    channels: dict[DAGNode, Channel] = {}

    def reads(reader: Any, node: DAGNode) -> None:
        writer = node.actor if isinstance(node, ClassMethodNode) else DRIVER
        if writer is DRIVER if reader is DRIVER else writer is not DRIVER and writer == reader:
            return
        channel = channels.setdefault(node, Channel(node, writer))
        if reader not in channel.readers:
            channel.readers.append(reader)

    for node in calls:
        for needed in needed_nodes(node):
            reads(node.actor, needed)
    for node in dict.fromkeys(outputs):
        reads(DRIVER, node)
    return Graph(root, calls, actors, list(outputs), several, channels)
