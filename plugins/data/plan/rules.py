"""Rules that make a plan cheaper and leave its result as it is. Each is a function from a node to a node.

A rule looks at one node whose inputs have been through all rules; it returns the node itself where it has nothing to
say. `optimise` applies those of a stage from the inputs up until none of them changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from shoal.data.combining import parts_of
from shoal.data.compute import TaskPoolStrategy
from shoal.data.exchanges import Aggregate, CombineGroups
from shoal.data.expressions import Expr, to_arrow
from shoal.data.mixing import Mix
from shoal.data.plan.logical import AllToAll, JoinInputs, Limit, Map, Node, OneInput, Read, Union, Write, Zip
from shoal.data.sinks.step import WriteBlocks
from shoal.data.sources.datasource import SupportsPredicate, SupportsProjection
from shoal.data.transforms import (
    Drop,
    FilterExpression,
    Head,
    MapBatches,
    MapRows,
    Project,
    Rename,
    Transform,
    WithColumns,
)

Rule = Callable[[Node], Node]
_PLAIN = TaskPoolStrategy()


def optimise(node: Node, writes_apart: bool = False) -> Node:
    """Return a plan with the same result that costs less.

    With `writes_apart` what is written is made in other tasks, which may then fail without it.

    Example: `optimise(Limit(Limit(node, 10), 5)).rows  # 5`
    """
    for rules in STAGES if not writes_apart else STAGES[:-1]:
        node = _applied(node, rules)
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
            isinstance(each, (Project, Rename, Drop, WithColumns))
            or (isinstance(each, MapRows) and each.kind == "map" and each.on_bad_rows == "error")
            or (isinstance(each, MapBatches) and each.keeps_count and each.on_bad_rows == "error")
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
        is_arrow = not isinstance(wanted.expression, Expr) or wanted.expression.in_arrow
        if not read.transforms and is_arrow and isinstance(read.source, SupportsPredicate):
            read = attrs.evolve(read, source=read.source.restrict(to_arrow(wanted.expression)))
            rest = node.transforms[1:]
            return attrs.evolve(node, input=read, transforms=rest) if rest else read
    return node


def filter_before_columns(node: Node) -> Node:
    """A filter that needs nothing of the step before it goes first, towards the read."""
    if not isinstance(node, Map):
        return node
    steps = list(node.transforms)
    for place in range(1, len(steps)):
        before, wanted = steps[place - 1], steps[place]
        if isinstance(wanted, FilterExpression) and isinstance(wanted.expression, Expr):
            needed = wanted.expression.columns()
            may = (isinstance(before, WithColumns) and not needed & set(before.columns)) or (
                isinstance(before, Project) and needed <= {new for old, new in before.columns if old == new}
            )
            if may:
                steps[place - 1], steps[place] = wanted, before
                return attrs.evolve(node, transforms=tuple(steps))
    return node


def filter_before_map(node: Node) -> Node:
    """The same where the step before it is in another task."""
    if (
        isinstance(node, Map)
        and isinstance(node.input, Map)
        and isinstance(node.transforms[0], FilterExpression)
        and isinstance(node.transforms[0].expression, Expr)
        and isinstance(node.input.transforms[-1], WithColumns)
        and not node.transforms[0].expression.columns() & set(node.input.transforms[-1].columns)
    ):
        before = attrs.evolve(
            node.input,
            transforms=(*node.input.transforms[:-1], node.transforms[0], node.input.transforms[-1]),
        )
        rest = node.transforms[1:]
        return attrs.evolve(node, input=before, transforms=rest) if rest else before
    return node


def read_what_is_used(node: Node) -> Node:
    """Columns that neither the last choice of columns nor the filters and expressions before it use are not read."""
    if not (isinstance(node, Map) and isinstance(node.input, Read) and not node.input.transforms):
        return node
    read = node.input
    if read.narrowed or not isinstance(read.source, SupportsProjection):
        return node
    before: list[Transform] = []
    for step in node.transforms:
        if isinstance(step, Project):
            break
        if not isinstance(step, WithColumns) and not (
            isinstance(step, FilterExpression) and isinstance(step.expression, Expr)
        ):
            return node
        before.append(step)
    else:
        return node
    needed = {old for old, _ in step.columns}
    kept: list[Transform] = []
    for each in reversed(before):
        if isinstance(each, WithColumns):
            used = {name: expr for name, expr in each.columns.items() if name in needed}
            needed = (needed - set(used)).union(*(expr.columns() for expr in used.values()))
            each = WithColumns(used)
        else:
            assert isinstance(each, FilterExpression)
            needed |= each.expression.columns()
        kept.append(each)
    if not needed:  # rows without a column could not be counted
        return node
    steps = (*reversed(kept), *node.transforms[len(before) :])
    source = read.source.project(sorted(needed))
    return attrs.evolve(node, input=attrs.evolve(read, source=source, narrowed=True), transforms=steps)


def project_before_aggregate(node: Node) -> Node:
    """Only keys and the columns that are aggregated are exchanged."""
    if not (isinstance(node, AllToAll) and isinstance(node.exchange, Aggregate)):
        return node
    aggregates = node.exchange.aggregates
    if not all(each.reads_only_on for each in aggregates):
        return node
    names = dict.fromkeys([*node.exchange.keys, *(each.on for each in aggregates if each.on is not None)])
    wanted = Project(tuple((name, name) for name in names))
    if not names or (isinstance(node.input, Map) and node.input.transforms[-1] == wanted):
        return node
    if isinstance(node.input, Read) and _gives(node.input) == wanted:
        return node
    return attrs.evolve(node, input=Map(node.input, (wanted,), options=_options_of(node.input)))


def combine_before_exchange(node: Node) -> Node:
    """Where aggregates of blocks can be joined, groups are made before rows travel."""
    if not (isinstance(node, AllToAll) and isinstance(node.exchange, Aggregate)) or node.exchange.combined:
        return node
    exchange = node.exchange
    if not exchange.keys or parts_of(exchange.aggregates) is None:
        return node
    step = CombineGroups(exchange.keys, exchange.aggregates)
    before = Map(node.input, (step,), options=_options_of(node.input))
    return attrs.evolve(node, input=before, exchange=attrs.evolve(exchange, combined=True))


def _gives(read: Read) -> Project | None:
    """The choice of columns that a read ends with."""
    if read.transforms:
        last = read.transforms[-1]
        return last if isinstance(last, Project) else None
    columns = getattr(read.source, "columns", None)
    return Project(tuple((name, name) for name in columns)) if columns else None


def _options_of(node: Node) -> Mapping[str, Any]:
    return node.options if isinstance(node, (Map, Read)) else {}


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


def fuse_write(node: Node) -> Node:
    """What is made is written in the same task: blocks never lie in the store."""
    if (
        not isinstance(node, Write)
        or node.concurrency is not None
        or node.sink.min_rows_per_write is not None
    ):
        return node
    before, step = node.input, WriteBlocks(node.sink)
    if isinstance(before, Map):
        fits = before.compute == _PLAIN
    elif isinstance(before, Read):
        fits = before.concurrency is None
    else:
        return node
    if not fits or dict(before.options) != dict(node.options):
        return node
    return attrs.evolve(before, transforms=(*before.transforms, step))


# What is moved and left out is decided before maps become one with reads, which hides them from the other rules.
STAGES: tuple[tuple[Rule, ...], ...] = (
    (
        merge_limits,
        push_limit_below_maps,
        project_before_aggregate,
        filter_before_columns,
        filter_before_map,
        push_projection_into_read,
        push_predicate_into_read,
        fuse_maps,
        read_what_is_used,
    ),
    (combine_before_exchange, fuse_maps),
    (push_limit_into_read, fuse_map_with_read),
    (fuse_write,),
)


def _applied(node: Node, rules: tuple[Rule, ...]) -> Node:
    node = _with_inputs(node, tuple(_applied(each, rules) for each in node.inputs))
    for rule in rules:
        changed = rule(node)
        if changed is not node:
            return _applied(changed, rules)
    return node


def _with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    if all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
        return node
    if isinstance(node, OneInput):
        return attrs.evolve(node, input=inputs[0])
    if isinstance(node, Union):
        return Union(inputs)
    if isinstance(node, Mix):
        return attrs.evolve(node, parts=inputs)
    assert isinstance(node, (Zip, JoinInputs))
    return attrs.evolve(node, left=inputs[0], right=inputs[1])
