"""What aggregates make of a table's groups, of one group block by block, and of all blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.aggregate import AggregateFn
from shoal.data.block import Block, concat, to_column
from shoal.data.combining import grouped, plain_keys
from shoal.data.ordering import groups_of, order_of


def aggregate_groups(table: Block, keys: Sequence[str], aggregates: Sequence[AggregateFn]) -> Block:
    """Return one row for each group of equal keys, in the order of the keys: the keys, then the aggregates' columns.

    Example: `aggregate_groups(table, ["city"], [Sum("rides")])`
    """
    for each in aggregates:
        if each.on is not None and each.on not in table.column_names:
            raise KeyError(f"there is no column {each.on!r}; there are {', '.join(table.column_names)}")
    table = plain_keys(table, keys)
    calls = {each: kernel for each in aggregates if keys and (kernel := each.kernel()) is not None}
    heads, made = _by_kernels(table, keys, calls) if calls else (None, {})
    if heads is None or len(calls) < len(aggregates):
        groups = list(groups_of(table, keys))
        if heads is None:
            heads = concat([group.select(list(keys)).slice(0, 1) for group in groups or [table]])
        rows = heads.to_pylist() if keys else [{}]
        for each in aggregates:
            if each in made:
                continue
            values = []
            for group, head in zip(groups, rows, strict=True):
                key = tuple(head.values()) if len(keys) > 1 else next(iter(head.values()), None)
                values.append(each.finalize(each.accumulate(group, key)))
            made[each] = to_column(each.name, values)
    columns = {name: heads.column(name) for name in keys}
    return pa.table(columns | {each.name: made[each] for each in aggregates})


def _by_kernels(
    table: Block, keys: Sequence[str], kernels: Mapping[AggregateFn, tuple[str, Any]]
) -> tuple[Block, dict[AggregateFn, Any]]:
    """Return the keys of the groups, in order, and the values of aggregates that Arrow has a kernel for.

    Arrow would cut the mean of decimals to the digits of the column, so these are made fractions before.
    """
    calls: list[Any] = []
    for each, (word, options) in kernels.items():
        on: Any = [] if each.on is None else each.on
        if each.on is not None and pa.types.is_null(
            table.schema.field(on).type
        ):  # Arrow counts these nulls as values
            place = table.column_names.index(on)
            table = table.set_column(place, on, pc.cast(table.column(on), pa.int64()))
        if word in ("mean", "stddev") and pa.types.is_decimal(table.schema.field(on).type):
            on = f"{each.on} in fractions"
            if on not in table.column_names:
                table = table.append_column(on, pc.cast(table.column(each.on), pa.float64()))
        calls.append((on, word, options))
    names = [f"\0{number}" for number in range(len(calls))]  # no key is called so
    columns = grouped(table, keys, calls, names)
    heads = pa.table({name: columns[name] for name in keys})
    order = pa.array(order_of(heads, [(name, False) for name in keys]))
    values = [columns[name].take(order) for name in names]
    return heads.take(order), dict(zip(kernels, values, strict=True))


def aggregate_group(blocks: Iterable[Block], keys: Sequence[str], aggregates: Sequence[AggregateFn]) -> Block:
    """Return the row of one group, whose rows come block by block.

    Example: `aggregate_group([first, second], ["city"], [Sum("rides")])`
    """
    head: Block = None
    states: list[Any] = []
    for block in blocks:
        if head is None:
            head = block.select(list(keys)).slice(0, 1)
            values = tuple(head.to_pylist()[0].values())
            key = values if len(values) > 1 else values[0]
        news = [each.accumulate(block, key) for each in aggregates]
        states = (
            [each.merge(*two) for each, *two in zip(aggregates, states, news, strict=True)]
            if states
            else news
        )
    columns = {name: head.column(name) for name in keys}
    for each, state in zip(aggregates, states, strict=True):
        columns[each.name] = to_column(each.name, [each.finalize(state)])
    return pa.table(columns)


def finish(states: Sequence[Sequence[Any]], aggregates: Sequence[AggregateFn]) -> dict[str, Any]:
    """Return the values of aggregates over all blocks, from the accumulators of each block.

    Example: `finish([[1], [2]], [Count()])  # {"count()": 3}`
    """
    totals: list[Any] = [None] * len(aggregates)
    for number, each in enumerate(aggregates):
        if not states:
            totals[number] = each.of_nothing()
            continue
        state = states[0][number]
        for other in states[1:]:
            state = each.merge(state, other[number])
        totals[number] = each.finalize(state)
    return {each.name: total for each, total in zip(aggregates, totals, strict=True)}
