"""What preprocessors learn of columns, as aggregates; not-a-number counts as null everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.aggregate import AbsMax, AggregateFn, Max, Mean, Min, Std
from shoal.data.block import Block, decoded
from shoal.data.transforms import need_columns


def plain(column: Any) -> Any:
    """Return a column without dictionaries, and with null for not-a-number.

    Example: `plain(table.column("x")).null_count`
    """
    column = decoded(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def numbers(name: str, column: Any) -> Any:
    """Return a column of numbers as floats with null for not-a-number. Raises TypeError, naming it, for another type.

    Example: `numbers("x", table.column("x"))`
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not any(
        test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    ) and not (pa.types.is_decimal(kind) or pa.types.is_null(kind)):
        raise TypeError(f"column {name!r} must be of numbers, not of {kind}")
    return plain(plain(column).cast(pa.float64()))


def to_floats(name: str, column: Any) -> Any:
    """Return a column of numbers as an array of floats in which nulls are not-a-number.

    Example: `to_floats("x", table.column("x")) * 2`
    """
    return np.asarray(
        numbers(name, column).to_numpy(zero_copy_only=False)
        if isinstance(column, pa.Array)
        else numbers(name, column).to_numpy(),
        dtype=np.float64,
    )


def from_floats(values: Any) -> Any:
    """Return an array of floats as a column in which not-a-number is null.

    Example: `from_floats(np.array([1.0, np.nan])).null_count  # 1`
    """
    return pa.array(values, from_pandas=True)


def without_nulls(name: str, column: Any, verb: str) -> Any:
    """Return a column without dictionaries. Raises ValueError, naming it, if a value is missing.

    Example: `without_nulls("x", table.column("x"), "fit")`
    """
    column = plain(column)
    missing = column.null_count
    if missing:
        raise _missing(name, missing, verb)
    return column


def _missing(name: str, count: int, verb: str) -> ValueError:
    return ValueError(
        f"column {name!r} has {count} nulls, which cannot be encoded ({verb}): "
        "fill them first, for example by SimpleImputer, or filter them out"
    )


class _OfNumbers(AggregateFn):
    def _column(self, block: Block) -> Any:
        assert self.on is not None
        need_columns(block, [self.on])
        return numbers(self.on, block.column(self.on))


class NumberMean(_OfNumbers, Mean):
    """The mean of the numbers of a column."""


class NumberStd(_OfNumbers, Std):
    """The standard deviation of the numbers of a column."""

    def __init__(self, on: str) -> None:
        Std.__init__(self, on, ddof=0)


class NumberMin(_OfNumbers, Min):
    """The least number of a column."""


class NumberMax(_OfNumbers, Max):
    """The greatest number of a column."""


class NumberAbsMax(_OfNumbers, AbsMax):
    """The greatest absolute number of a column."""


class Quantiles(_OfNumbers):
    """Values below which shares of a column's numbers lie: exact up to `kept` numbers, and near them beyond.

    Beyond, `kept` values stand for 1 each, as many for 2 each, for 4, and so on: a full level is sorted and every other
    value goes up. (Karnin, Lang and Liberty, "Optimal quantile approximation in streams", have the theory.) The place
    of what comes out is wrong by about 1/`kept` of all.
    """

    def __init__(self, on: str, shares: tuple[float, ...], kept: int) -> None:
        self.on = on
        self.name = f"quantiles({on})"
        self._shares = shares
        self._kept = kept

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table: how often levels were thinned, and the levels."""
        return self._thinned(0, [self._column(block).drop_null().to_numpy()])

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        levels = [
            np.concatenate([side[1][level] for side in (one, other) if level < len(side[1])])
            for level in range(max(len(one[1]), len(other[1])))
        ]
        return self._thinned(one[0] + other[0], levels)

    def _thinned(self, times: int, levels: list[Any]) -> tuple[int, list[Any]]:
        level = 0
        while level < len(levels):
            if len(levels[level]) > self._kept:
                ordered = np.sort(levels[level])
                even = len(ordered) // 2 * 2
                # Now the lower and now the higher of each pair goes up, so that errors cancel out.
                up = ordered[:even][times % 2 :: 2]
                times += 1
                levels[level] = ordered[even:]
                if level + 1 == len(levels):
                    levels.append(up)
                else:
                    levels[level + 1] = np.concatenate([levels[level + 1], up])
            level += 1
        return times, levels

    def finalize(self, state: Any) -> Any:
        """Return the value for each share; null for a column without numbers."""
        values = np.concatenate(state[1])
        if not len(values):
            return [None] * len(self._shares)
        weights = np.repeat([1 << level for level in range(len(state[1]))], [len(each) for each in state[1]])
        order = np.argsort(values, kind="stable")
        values, ends = values[order], np.cumsum(weights[order])
        places = np.asarray(self._shares) * (ends[-1] - 1)
        low = values[np.searchsorted(ends, np.floor(places), side="right")]
        high = values[np.searchsorted(ends, np.ceil(places), side="right")]
        return [float(value) for value in low + (high - low) * (places - np.floor(places))]


class ValueCounts(AggregateFn):
    """How often each value of a column is there.

    With `elements` the values of lists are counted one by one, without it a list is one value (as a tuple). Nulls are
    an error, unless `skip_nulls`.
    """

    def __init__(self, on: str, *, elements: bool = False, skip_nulls: bool = False) -> None:
        self.on = on
        self.name = f"value_counts({on})"
        self._elements = elements
        self._skip_nulls = skip_nulls

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table: how many nulls there are, and how often each value."""
        assert self.on is not None
        need_columns(block, [self.on])
        column = plain(storage(block.column(self.on)))
        nulls = column.null_count
        if is_list(column.type):
            if not self._elements:
                return (nulls, Counter(hashable(value) for value in column.to_pylist() if value is not None))
            column = plain(pc.list_flatten(column))
            nulls += column.null_count
        counts = pc.value_counts(column.drop_null())
        values, times = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
        return (nulls, Counter(dict(zip(values, times, strict=True))))

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        return (one[0] + other[0], one[1] + other[1])

    def finalize(self, state: Any) -> Any:
        """Return how often each value is there. Raises ValueError for nulls that are not to be skipped."""
        if state[0] and not self._skip_nulls:
            raise _missing(str(self.on), state[0], "fit")
        return state[1]


class TokenCounts(AggregateFn):
    """How often each token is in the texts of a column; null has none."""

    def __init__(self, on: str, tokenize: Callable[[str], list[str]]) -> None:
        self.on = on
        self.name = f"token_counts({on})"
        self._tokenize = tokenize

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        assert self.on is not None
        need_columns(block, [self.on])
        rows = tokens(self.on, block.column(self.on), self._tokenize)
        return Counter(chain.from_iterable(row for row in rows if row is not None))

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        return one + other

    def finalize(self, state: Any) -> Any:
        """Return how often each token is there."""
        return state


def tokens(name: str, column: Any, tokenize: Callable[[str], list[str]]) -> list[list[str] | None]:
    """Return the tokens of each text, None for null. Raises TypeError, naming the column, unless it is of text.

    Example: `tokens("text", table.column("text"), str.split)`
    """
    column = plain(column)
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise TypeError(f"column {name!r} must be of text, not of {kind}")
    return [None if text is None else list(tokenize(text)) for text in column.to_pylist()]


def is_list(kind: Any) -> bool:
    """Return whether values of an Arrow type are lists.

    Example: `is_list(pa.list_(pa.int64()))  # True`
    """
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def storage(column: Any) -> Any:
    """Return a column of tensors as one of lists; others as they are.

    Example: `storage(table.column("image"))`
    """
    if not isinstance(column.type, pa.FixedShapeTensorType):
        return column
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return pa.chunked_array([chunk.storage for chunk in chunks], column.type.storage_type)


def hashable(value: Any) -> Any:
    """Return lists as tuples, which can be keys; other values as they are.

    Example: `hashable([1, 2])  # (1, 2)`
    """
    return tuple(hashable(each) for each in value) if isinstance(value, (list, tuple)) else value
