"""Aggregates: what makes one value of the values of a column, over a whole dataset or for each group."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import Block, from_rows
from shoal.data.combining import Part, Parts, deviation, join_moments, quotient
from shoal.errors import describe


class AggregateFn:
    """An aggregate of four functions: begin, take a block in, join two, and finish.

    Parameters: `init(key)` returns the first accumulator, `merge(a, b)` joins two accumulators, `accumulate_block(a,
    block)` takes a table in (or `accumulate_row(a, row)` one row), `finalize(a)` returns the value, and `name` is its
    column. Accumulators travel between processes.
    Raises ValueError unless exactly one of the accumulate functions is given.

    Example:
        longest = AggregateFn(
            init=lambda key: 0,
            accumulate_row=lambda most, row: max(most, len(row["text"])),
            merge=max,
            name="longest",
        )
    """

    on: str | None = None
    reads_only_on: bool = False  # whether no other column is needed

    def kernel(self) -> tuple[str, Any] | None:
        """Return the name and the options of Arrow's own aggregate that does the same for groups; None without one."""
        return None

    def parts(self) -> Parts | None:
        """Return what it needs of each block, where groups need not be together; None where they must be."""
        return None

    def __init__(
        self,
        init: Callable[[Any], Any],
        merge: Callable[[Any, Any], Any],
        name: str,
        accumulate_row: Callable[[Any, dict[str, Any]], Any] | None = None,
        accumulate_block: Callable[[Any, Any], Any] | None = None,
        finalize: Callable[[Any], Any] | None = None,
    ) -> None:
        if (accumulate_row is None) == (accumulate_block is None):
            raise ValueError("an AggregateFn takes exactly one of accumulate_row and accumulate_block")
        if type(name) is not str or not name:
            raise TypeError(f"the name of an AggregateFn is the column of its values, not {describe(name)}")
        self.name = name
        self._init = init
        self._merge = merge
        self._row = accumulate_row
        self._block = accumulate_block
        self._finalize = finalize

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        state = self._init(key)
        if self._block is not None:
            return self._block(state, block)
        assert self._row is not None
        for row in block.to_pylist():
            state = self._row(state, row)
        return state

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        return self._merge(one, other)

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return state if self._finalize is None else self._finalize(state)

    def of_nothing(self) -> Any:
        """Return the value of no rows; None where it is of a column."""
        return self.finalize(self.accumulate(from_rows([]))) if self.on is None else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"


def _only(columns: list[Any]) -> Any:
    """The one part that an aggregate has."""
    return columns[0]


class _OfColumn(AggregateFn):
    """An aggregate of one column that Arrow has a kernel for."""

    _word = ""
    reads_only_on = True

    def __init__(self, on: str | None, ignore_nulls: bool, alias_name: str | None) -> None:
        if on is not None and not isinstance(on, str):
            raise TypeError(f"on must be the name of a column, not {describe(on)}")
        self.name = alias_name or f"{self._word}({on or ''})"
        self.on = on
        self._ignore_nulls = ignore_nulls

    def _column(self, block: Block) -> Any:
        if self.on not in block.column_names:
            raise KeyError(f"there is no column {self.on!r}; there are {', '.join(block.column_names)}")
        return block.column(self.on)

    def _options(self) -> Any:
        return pc.ScalarAggregateOptions(skip_nulls=self._ignore_nulls, min_count=1)

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return state


class Count(_OfColumn):
    """How many rows there are; with `on` and `ignore_nulls`, how many of them have a value there.

    Example: `ds.aggregate(Count())`
    """

    _word = "count"

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = False, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def kernel(self) -> tuple[str, Any] | None:
        """Return Arrow's own aggregate."""
        if self.on is None:
            return ("count_all", None)
        return ("count", pc.CountOptions(mode="only_valid" if self._ignore_nulls else "all"))

    def parts(self) -> Parts | None:
        """Return what it needs of each block."""
        mode = pc.CountOptions(mode="only_valid" if self._ignore_nulls else "all")
        return Parts((Part("count", mode),), _only)

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        if self.on is None or not self._ignore_nulls:
            return block.num_rows
        return block.num_rows - self._column(block).null_count

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        return one + other


class _Folded(_OfColumn):
    """An aggregate whose accumulators are its values; null unless there is one value at least."""

    _zero: Callable[[], Any] | None = None  # what stands for no values

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = True, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def kernel(self) -> tuple[str, Any] | None:
        """Return Arrow's own aggregate."""
        return None if self._zero is not None else (self._word, self._options())

    def of_nothing(self) -> Any:
        """Return the value of no rows."""
        return None if self._zero is None else self._zero()

    def parts(self) -> Parts | None:
        """Return what it needs of each block: its own values."""
        if self.kernel() is None or self.on is None:
            return None
        return Parts((Part(self._word, self._options(), self._word),), _only, skip_nulls=self._ignore_nulls)

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table: how many rows it had, and their value."""
        value = getattr(pc, self._word)(self._column(block), options=self._options()).as_py()
        return (block.num_rows, value)

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        if not one[0] or not other[0]:
            return one if one[0] else other
        if one[1] is None or other[1] is None:
            left = (one[1] if other[1] is None else other[1]) if self._ignore_nulls else None
            return (one[0] + other[0], left)
        return (one[0] + other[0], self._fold(one[1], other[1]))

    def _fold(self, one: Any, other: Any) -> Any:
        raise NotImplementedError

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return self.of_nothing() if state[1] is None else state[1]


class Sum(_Folded):
    """The sum of a column. Nulls are left out, or make the sum null.

    Example: `ds.groupby("city").aggregate(Sum("rides"))`
    """

    _word = "sum"

    def _fold(self, one: Any, other: Any) -> Any:
        return one + other


class _Extreme(_Folded):
    """An aggregate that may have a value where there are no values."""

    def __init__(
        self,
        on: str | None = None,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
        zero_factory: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        self._zero = zero_factory


class Min(_Extreme):
    """The least value of a column; of none what `zero_factory` returns (None without it).

    Example: `ds.aggregate(Min("x"))`
    """

    _word = "min"

    def _fold(self, one: Any, other: Any) -> Any:
        return min(one, other)


class Max(_Extreme):
    """The greatest value of a column; of none what `zero_factory` returns (None without it).

    Example: `ds.aggregate(Max("x"))`
    """

    _word = "max"

    def _fold(self, one: Any, other: Any) -> Any:
        return max(one, other)


class _Moments(_OfColumn):
    """Count, mean and sum of squared distances from it, joined as Chan, Golub and LeVeque do, which keeps precision."""

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table; None if a null spoils it."""
        column = self._column(block)
        if column.null_count and not self._ignore_nulls:
            return None
        count = len(column) - column.null_count
        if not count:
            return (0, 0.0, 0.0)
        if pa.types.is_decimal(column.type):
            column = pc.cast(column, pa.float64())
        mean = float(pc.mean(column).as_py())
        spread = float(pc.variance(column).as_py()) * count
        return (count, mean, spread)

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        if one is None or other is None:
            return None
        if not one[0] or not other[0]:
            return one if one[0] else other
        count = one[0] + other[0]
        apart = other[1] - one[1]
        mean = one[1] + apart * other[0] / count
        return (count, mean, one[2] + other[2] + apart * apart * one[0] * other[0] / count)


class Mean(_Moments):
    """The arithmetic mean of a column.

    Example: `ds.aggregate(Mean("x"))`
    """

    _word = "mean"

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = True, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def kernel(self) -> tuple[str, Any] | None:
        """Return Arrow's own aggregate."""
        return ("mean", self._options())

    def parts(self) -> Parts | None:
        """Return what it needs of each block: sums and counts."""
        if self.on is None:
            return None
        count = Part("count", pc.CountOptions(mode="only_valid"))
        return Parts((Part("sum", self._options()), count), quotient, skip_nulls=self._ignore_nulls)

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return state[1] if state is not None and state[0] else None


class Std(_Moments):
    """The standard deviation of a column; `ddof` is taken from the number of values that it is divided by.

    Example: `ds.aggregate(Std("x", ddof=0))`
    """

    _word = "std"

    def __init__(
        self, on: str | None = None, ddof: int = 1, ignore_nulls: bool = True, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        self._ddof = ddof

    def kernel(self) -> tuple[str, Any] | None:
        """Return Arrow's own aggregate."""
        options = pc.VarianceOptions(ddof=self._ddof, skip_nulls=self._ignore_nulls, min_count=self._ddof + 1)
        return ("stddev", options)

    def parts(self) -> Parts | None:
        """Return what it needs of each block: counts, means and variances."""
        if self.on is None:
            return None
        count = Part("count", pc.CountOptions(mode="only_valid" if self._ignore_nulls else "all"))
        spread = pc.VarianceOptions(ddof=0, skip_nulls=self._ignore_nulls, min_count=1)
        each = (count, Part("mean", self._options()), Part("variance", spread))
        return Parts(each, deviation(self._ddof), join_moments)

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        if state is None or state[0] <= self._ddof:
            return None
        return math.sqrt(state[2] / (state[0] - self._ddof))


class AbsMax(_Extreme):
    """The greatest absolute value of a column; of none what `zero_factory` returns (None without it).

    Example: `ds.aggregate(AbsMax("x"))`
    """

    _word = "abs_max"

    def kernel(self) -> tuple[str, Any] | None:
        """There is none."""
        return None

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table: how many rows it had, and their value."""
        found = pc.max(pc.abs(self._column(block)), options=self._options()).as_py()
        return (block.num_rows, found)

    def _fold(self, one: Any, other: Any) -> Any:
        return max(one, other)


class _Gathered(_OfColumn):
    """An aggregate of all the values of a column, or of how often each is there."""

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = True, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def _values(self, block: Block) -> Any:
        column = self._column(block)
        return column.drop_null() if self._ignore_nulls else column


class AsList(_Gathered):
    """All values of a column as a list, in the order of the rows.

    Example: `ds.groupby("city").aggregate(AsList("rides"))`
    """

    _word = "list"

    def __init__(
        self, on: str | None = None, alias_name: str | None = None, ignore_nulls: bool = True
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        return self._values(block).to_pylist()

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        return [*one, *other]


class _Counted(_Gathered):
    """An aggregate whose accumulators say how often each value is there."""

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        counts = pc.value_counts(self._values(block))
        return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        merged = dict(one)
        for value, count in other.items():
            merged[value] = merged.get(value, 0) + count
        return merged


class CountDistinct(_Counted):
    """How many different values a column has.

    Example: `ds.aggregate(CountDistinct("city"))`
    """

    _word = "count_distinct"

    def kernel(self) -> tuple[str, Any] | None:
        """Return Arrow's own aggregate."""
        return ("count_distinct", pc.CountOptions(mode="only_valid" if self._ignore_nulls else "all"))

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return len(state)


class Unique(_Counted):
    """The different values of a column, as a list.

    Example: `ds.groupby("city").aggregate(Unique("driver"))`
    """

    _word = "unique"

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return list(state)


class ValueCounter(_Counted):
    """The different values of a column and how often each is there: lists "values" and "counts".

    Example: `ds.aggregate(ValueCounter("city"))`
    """

    _word = "value_counter"

    def __init__(self, on: str, alias_name: str | None = None) -> None:
        super().__init__(on, True, alias_name)

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return {"values": list(state), "counts": list(state.values())}


class Quantile(_Counted):
    """The value of a column below which a share `q` of the values lie, between two values by proportion.

    Example: `ds.aggregate(Quantile("fare", q=0.9))`
    """

    _word = "quantile"

    def __init__(
        self,
        on: str | None = None,
        q: float = 0.5,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
    ) -> None:
        if not 0 <= q <= 1:
            raise ValueError(f"q must be a number from 0 to 1, not {describe(q)}")
        super().__init__(on, ignore_nulls, alias_name)
        self._q = q

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        if not state or None in state:
            return None
        ordered = sorted(state)
        ends = list(itertools.accumulate(state[value] for value in ordered))
        place = self._q * (ends[-1] - 1)
        low, high = (ordered[bisect.bisect_right(ends, at)] for at in (math.floor(place), math.ceil(place)))
        return low + (high - low) * (place - math.floor(place))


class _Share(_OfColumn):
    """The percentage of rows for which something holds."""

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        return (one[0] + other[0], one[1] + other[1])

    def finalize(self, state: Any) -> Any:
        """Return the value of an accumulator."""
        return 100.0 * state[0] / state[1] if state[1] else None


class MissingValuePercentage(_Share):
    """The percentage of a column's values that are null (or not a number).

    Example: `ds.aggregate(MissingValuePercentage("fare"))`
    """

    _word = "missing_pct"

    def __init__(self, on: str, alias_name: str | None = None) -> None:
        super().__init__(on, False, alias_name)

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        missing = pc.sum(pc.is_null(self._column(block), nan_is_null=True)).as_py()
        return (missing or 0, block.num_rows)


class ZeroPercentage(_Share):
    """The percentage of a column's values that are 0; nulls count among the values unless they are ignored.

    Example: `ds.aggregate(ZeroPercentage("fare"))`
    """

    _word = "zero_pct"

    def __init__(self, on: str, ignore_nulls: bool = True, alias_name: str | None = None) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        column = self._column(block)
        rows = len(column) - (column.null_count if self._ignore_nulls else 0)
        return (pc.sum(pc.equal(column, 0)).as_py() or 0, rows)
