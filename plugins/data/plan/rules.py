"""Rules that make a plan cheaper and leave its result as it is. Each is a function from a node to a node.

A rule looks at one node whose inputs have been through all rules; it returns the node itself where it has nothing to
say. `optimise` applies them from the inputs up until none of them changes anything.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from shoal.data.compute import TaskPoolStrategy
from shoal.data.plan.logical import JoinInputs, Limit, Map, Node, OneInput, Read, Union, Zip
from shoal.data.sources.datasource import SupportsPredicate, SupportsProjection
from shoal.data.transforms import Drop, FilterExpression, Head, MapRows, Project, Rename

Rule = Callable[[Node], Node]
_PLAIN = TaskPoolStrategy()


def optimise(node: Node) -> Node:
    """Return a plan with the same result that costs less.

    Example: `optimise(Limit(Limit(node, 10), 5)).rows  # 5`
    """
    node = _with_inputs(node, tuple(optimise(each) for each in node.inputs))
    for rule in RULES:
        changed = rule(node)
        if changed is not node:
            return optimise(changed)
    return node


def merge_limits(node: Node) -> Node:
    """Two limits one after another are the smaller one."""
    if isinstance(node, Limit) and isinstance(node.input, Limit):
        return Limit(node.input.input, min(node.rows, node.input.rows))
    return node


def push_limit_below_maps(node: Node) -> Node:
    """A limit of what is made of each row alone is a limit of the rows: fewer of them are worked on."""
    if (
        isinstance(node, Limit)
        and isinstance(node.input, Map)
        and all(
            isinstance(each, (Project, Rename, Drop)) or (isinstance(each, MapRows) and each.kind == "map")
            for each in node.input.transforms
        )
    ):
        return attrs.evolve(node.input, input=Limit(node.input.input, node.rows))
    return node


def push_limit_into_read(node: Node) -> Node:
    """No piece of a source needs to give more rows than the limit, which stays behind them all."""
    if isinstance(node, Limit) and isinstance(node.input, Read):
        read = node.input
        if not any(isinstance(each, Head) and each.rows <= node.rows for each in read.transforms):
            limit = node.rows if not read.transforms else read.limit
            return Limit(
                attrs.evolve(read, limit=limit, transforms=(*read.transforms, Head(node.rows))), node.rows
            )
    return node


def push_projection_into_read(node: Node) -> Node:
    """Columns that are not asked for are not read."""
    if isinstance(node, Map) and isinstance(node.input, Read) and isinstance(node.transforms[0], Project):
        read, project = node.input, node.transforms[0]
        if not read.transforms and isinstance(read.source, SupportsProjection):
            source = read.source.project(list(dict.fromkeys(old for old, _ in project.columns)))
            renames = any(old != new for old, new in project.columns)
            read = attrs.evolve(read, source=source, transforms=(project,) if renames else ())
            rest = node.transforms[1:]
            return attrs.evolve(node, input=read, transforms=rest) if rest else read
    return node


def push_predicate_into_read(node: Node) -> Node:
    """Rows that an expression rules out are not read."""
    if (
        isinstance(node, Map)
        and isinstance(node.input, Read)
        and isinstance(node.transforms[0], FilterExpression)
    ):
        read, wanted = node.input, node.transforms[0]
        if not read.transforms and isinstance(read.source, SupportsPredicate):
            read = attrs.evolve(read, source=read.source.restrict(wanted.expression))
            rest = node.transforms[1:]
            return attrs.evolve(node, input=read, transforms=rest) if rest else read
    return node


def fuse_maps(node: Node) -> Node:
    """Maps that run as tasks with the same options are one task: their blocks never leave it."""
    if (
        isinstance(node, Map)
        and isinstance(node.input, Map)
        and node.compute == node.input.compute == _PLAIN
        and dict(node.options) == dict(node.input.options)
    ):
        before = node.input
        least = max(node.rows_at_least or 0, before.rows_at_least or 0) or None
        return attrs.evolve(
            node, input=before.input, transforms=before.transforms + node.transforms, rows_at_least=least
        )
    return node


def fuse_map_with_read(node: Node) -> Node:
    """What is read is mapped in the same task."""
    if (
        isinstance(node, Map)
        and isinstance(node.input, Read)
        and node.compute == _PLAIN
        and dict(node.options) == dict(node.input.options)
    ):
        return attrs.evolve(node.input, transforms=node.input.transforms + node.transforms)
    return node


RULES: tuple[Rule, ...] = (
    merge_limits,
    push_limit_below_maps,
    push_limit_into_read,
    push_projection_into_read,
    push_predicate_into_read,
    fuse_maps,
    fuse_map_with_read,
)


def _with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    if all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
        return node
    if isinstance(node, OneInput):
        return attrs.evolve(node, input=inputs[0])
    if isinstance(node, Union):
        return Union(inputs)
    assert isinstance(node, (Zip, JoinInputs))
    return attrs.evolve(node, left=inputs[0], right=inputs[1])
