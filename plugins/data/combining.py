"""Aggregates of groups block by block: each block gives a row for each of its groups, and these rows are joined.

Only what is in these rows travels between blocks, instead of all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import Block, decoded

if TYPE_CHECKING:
    from shoal.data.aggregate import AggregateFn

_KNOWN = b"shoal.columns"  # where a table of parts says which columns its block had


@attrs.frozen
class Part:
    """One value that a block gives of each of its groups: Arrow's aggregate of it, and the one that joins two."""

    word: str
    options: Any = None
    joins: str = "sum"


@attrs.frozen
class Parts:
    """What an aggregate needs of each block.

    Parameters: `finish` makes the column of the aggregate of the joined columns. `join`, where it is given, joins all
    parts together instead of each by its own aggregate: it is given the columns, the number of each row's group, and
    how many groups there are. `skip_nulls` tells whether nulls are left out when parts are joined.
    """

    each: tuple[Part, ...]
    finish: Callable[[list[Any]], Any]
    join: Callable[[list[Any], Any, int], list[Any]] | None = None
    skip_nulls: bool = True


def parts_of(aggregates: Sequence[AggregateFn]) -> list[Parts] | None:
    """Return what each aggregate needs of a block; None if one of them needs all rows of a group together.

    Example: `parts_of([Sum("rides"), Mean("fare")])`
    """
    found = [each.parts() for each in aggregates]
    return None if None in found else found  # type: ignore[return-value]


def combine(block: Block, keys: Sequence[str], aggregates: Sequence[AggregateFn]) -> Block:
    """Return a row for each group of a block: the keys, then the parts of the aggregates.

    Example: `combine(table, ["city"], [Mean("fare")])`
    """
    known = ",".join(block.column_names)
    block = plain_keys(block, keys)
    calls, names, empty = [], [], []
    for name, on, part in _named_parts(aggregates):
        if on is not None and on not in block.column_names:
            continue
        if on is not None and pa.types.is_null(block.schema.field(on).type) and part.word != "count":
            empty.append(name)  # a column of nulls takes any type when blocks meet
            continue
        calls.append(([] if on is None else on, part.word, part.options))
        names.append(name)
    columns = grouped(block, keys, calls, names)
    rows = len(columns[keys[0]])
    columns.update({name: pa.nulls(rows) for name in empty})
    return pa.table(columns).replace_schema_metadata({_KNOWN: known.encode()})


def join_parts(table: Block, keys: Sequence[str], aggregates: Sequence[AggregateFn]) -> Block:
    """Return the rows that `combine` made of several blocks with one row for each group.

    Example: `join_parts(concat([combine(a, keys, sums), combine(b, keys, sums)]), keys, sums)`
    """
    metadata = table.schema.metadata
    table = plain_keys(table, keys)
    calls, names = [], []
    whole: dict[str, Any] = {}
    for number, each in enumerate(aggregates):
        parts = each.parts()
        assert parts is not None
        its = [
            name for place in range(len(parts.each)) if (name := _name(number, place)) in table.schema.names
        ]
        if parts.join is not None and its:
            whole.update(dict.fromkeys(its))
            continue
        for name, part in zip(its, parts.each, strict=False):
            skips = parts.skip_nulls or part.word == "count"
            calls.append((name, part.joins, pc.ScalarAggregateOptions(skip_nulls=skips, min_count=1)))
            names.append(name)
    if whole:
        table = table.append_column("row", pa.array(np.arange(table.num_rows)))
        calls.append(("row", "list", None))
        names.append("row")
    columns = grouped(table, keys, calls, names)
    if whole:
        groups, numbers = _numbers(columns.pop("row"), table.num_rows)
        for number, each in enumerate(aggregates):
            parts = each.parts()
            assert parts is not None
            if parts.join is not None and _name(number, 0) in whole:
                its = [_name(number, place) for place in range(len(parts.each))]
                joined = parts.join([table.column(name) for name in its], numbers, groups)
                columns.update(zip(its, joined, strict=True))
    return pa.table(columns).replace_schema_metadata(metadata)


def finish_parts(table: Block, keys: Sequence[str], aggregates: Sequence[AggregateFn]) -> Block:
    """Return the aggregates of the groups in the order of the keys, from joined parts.

    Raises KeyError for a column that no block had.

    Example: `finish_parts(joined, ["city"], [Mean("fare")])`
    """
    columns = {name: table.column(name) for name in keys}
    for number, each in enumerate(aggregates):
        parts = each.parts()
        assert parts is not None
        names = [_name(number, place) for place in range(len(parts.each))]
        if names[0] not in table.column_names:
            known = (table.schema.metadata or {}).get(_KNOWN, b"").decode().replace(",", ", ")
            raise KeyError(f"there is no column {each.on!r}; there are {known}")
        columns[each.name] = parts.finish([table.column(name) for name in names])
    return pa.table(columns).sort_by([(name, "ascending") for name in keys])


def quotient(columns: list[Any]) -> Any:
    """Return sums divided by counts, as fractions; null where nothing was counted.

    Example: `quotient([pa.chunked_array([[3]]), pa.chunked_array([[2]])])  # 1.5`
    """
    total, count = columns
    some = pc.if_else(pc.equal(count, 0), None, pc.cast(count, pa.float64()))
    return pc.divide(pc.cast(total, pa.float64()), some)


def join_moments(columns: list[Any], numbers: Any, groups: int) -> list[Any]:
    """Join counts, means and variances of parts of groups, as Chan, Golub and LeVeque do.

    Example: `join_moments([counts, means, variances], np.array([0, 0, 1]), 2)`
    """
    counts, means, variances = (_floats(column) for column in columns)
    spoiled = np.isnan(means) & (counts > 0) & _nulls(columns[1])
    means, variances = np.where(counts > 0, means, 0.0), np.where(counts > 0, variances, 0.0)
    count = np.bincount(numbers, counts, groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(numbers, counts * means, groups) / count
        apart = means - mean[numbers]
        spread = np.bincount(
            numbers, counts * variances + np.where(counts > 0, counts * apart * apart, 0.0), groups
        )
        variance = spread / count
    void = (count == 0) | (np.bincount(numbers[spoiled], minlength=groups) > 0)
    return [pa.array(count.astype(np.int64)), pa.array(mean, mask=void), pa.array(variance, mask=void)]


def deviation(ddof: int) -> Callable[[list[Any]], Any]:
    """Return what makes standard deviations of counts, means and variances.

    Example: `deviation(1)([counts, means, variances])`
    """

    def finish(columns: list[Any]) -> Any:
        counts, variances = _floats(columns[0]), _floats(columns[2])
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.sqrt(counts * variances / (counts - ddof))
        return pa.array(found, mask=(counts <= ddof) | _nulls(columns[2]))

    return finish


def _named_parts(aggregates: Sequence[AggregateFn]) -> list[tuple[str, str | None, Part]]:
    found = []
    for number, each in enumerate(aggregates):
        parts = each.parts()
        assert parts is not None
        found += [(_name(number, place), each.on, part) for place, part in enumerate(parts.each)]
    return found


def _name(aggregate: int, place: int) -> str:
    """The column of a part; keys cannot be called so, as they come from files and programs, not from here."""
    return f"\0{aggregate}.{place}"


def grouped(table: Block, keys: Sequence[str], calls: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Return columns of the groups of a table: the keys, and what Arrow's aggregates make, by `names`.

    Parameters: `calls` are (column or [], aggregate, options) as of pyarrow's TableGroupBy.

    Example: `grouped(table, ["city"], [("fare", "sum", None)], ["total"])`
    """
    calls = [
        (on, "count_all" if on == [] else word, None if on == [] else options) for on, word, options in calls
    ]
    done = table.group_by(list(keys), use_threads=False).aggregate(calls)
    # Arrow puts the keys first (older versions last) and names aggregates "column_word"; names may be there twice.
    first = 0 if done.column_names[: len(keys)] != list(keys) else len(keys)
    at = 0 if first else len(calls)
    columns = {name: done.column(at + number) for number, name in enumerate(keys)}
    columns.update({name: done.column(first + number) for number, name in enumerate(names)})
    return columns


def plain_keys(table: Block, keys: Sequence[str]) -> Block:
    """Return a table whose keys are no categories: Arrow neither groups nor sorts by those of several chunks.

    Example: `plain_keys(table, ["city"])`
    """
    for name in keys:
        if pa.types.is_dictionary(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, decoded(table.column(name)))
    return table


def _numbers(rows: Any, count: int) -> tuple[int, Any]:
    """How many groups there are, and the number of each row's group, of lists of the rows of each."""
    lists = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    numbers = np.empty(count, dtype=np.int64)
    numbers[lists.flatten().to_numpy()] = np.repeat(np.arange(len(lists)), lengths)
    return len(lists), numbers


def _floats(column: Any) -> Any:
    """A column as an array; nulls are not numbers."""
    cast = pc.cast(column, pa.float64())
    return (cast.combine_chunks() if isinstance(cast, pa.ChunkedArray) else cast).to_numpy(
        zero_copy_only=False
    )


def _nulls(column: Any) -> Any:
    found = pc.is_null(column)
    return found.to_numpy() if isinstance(found, pa.ChunkedArray) else found.to_numpy(zero_copy_only=False)
