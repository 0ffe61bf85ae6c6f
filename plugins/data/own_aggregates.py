"""Aggregates of one's own as classes, and approximate ones that take little memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from shoal.data.aggregate import AggregateFn
from shoal.data.block import Block
from shoal.data.checks import check_count, need
from shoal.errors import describe


class AggregateFnV2(AggregateFn):
    """An aggregate as a class: write `aggregate_block` and `combine`, and `finalize` if the accumulator is not the
    value.

    Parameters: `name` is the column of the values, `zero_factory` returns the accumulator of no rows, `on` is the
    column that is read (None: all), and without nulls in it if `ignore_nulls`.

    Example:
        class Longest(AggregateFnV2):
            def __init__(self, on): super().__init__(f"longest({on})", lambda: 0, on=on, ignore_nulls=True)
            def aggregate_block(self, block): return pc.max(pc.utf8_length(block[self.on])).as_py() or 0
            def combine(self, current_accumulator, new): return max(current_accumulator, new)
    """

    def __init__(
        self, name: str, zero_factory: Callable[[], Any], *, on: str | None = None, ignore_nulls: bool = True
    ) -> None:
        if type(name) is not str or not name:
            raise TypeError(f"the name of an aggregate is the column of its values, not {describe(name)}")
        if not callable(zero_factory):
            raise TypeError(f"zero_factory must be a function, not {describe(zero_factory)}")
        self.name = name
        self.on = on
        self.reads_only_on = on is not None
        self._zero = zero_factory
        self._ignore_nulls = ignore_nulls

    @abstractmethod
    def aggregate_block(self, block: Any) -> Any:
        """Return the accumulator of a table."""

    @abstractmethod
    def combine(self, current_accumulator: Any, new: Any) -> Any:
        """Return the accumulator of two."""

    def finalize(self, accumulator: Any) -> Any:
        """Return the value of an accumulator."""
        return accumulator

    def get_agg_name(self) -> str:
        """Return the column of the values."""
        return self.name

    def get_target_column(self) -> str | None:
        """Return the column that is read; None for all."""
        return self.on

    def accumulate(self, block: Block, key: Any = None) -> Any:
        """Return the accumulator of one table."""
        if self.on is not None and block.num_columns:
            if self.on not in block.column_names:
                raise KeyError(f"there is no column {self.on!r}; there are {', '.join(block.column_names)}")
            if self._ignore_nulls:
                block = block.filter(pc.is_valid(block.column(self.on)))
        return self._zero() if not block.num_rows else self.combine(self._zero(), self.aggregate_block(block))

    def of_nothing(self) -> Any:
        """Return the value of no rows."""
        return self.finalize(self._zero())

    def merge(self, one: Any, other: Any) -> Any:
        """Return the accumulator of both."""
        return self.combine(one, other)


class VectorizedAggregateFnV2(AggregateFnV2):
    """The same for accumulators that are Arrow's scalars or arrays: all of it is computed in columns."""


class ApproximateQuantile(AggregateFnV2):
    """Some quantiles of a column, as a list, from a KLL sketch of a few kilobytes. Needs datasketches.

    Parameters: `quantiles` are shares from 0 to 1; the larger `quantile_precision`, the nearer (800: within 0.5 % of
    the ranks, nearly always) and the larger the sketch.

    Example: `ds.aggregate(ApproximateQuantile("fare", [0.5, 0.99]))`
    """

    def __init__(
        self,
        on: str,
        quantiles: Sequence[float],
        quantile_precision: int = 800,
        alias_name: str | None = None,
    ) -> None:
        if not quantiles or not all(0 <= each <= 1 for each in quantiles):
            raise ValueError(f"quantiles must be shares from 0 to 1, not {describe(quantiles)}")
        self._quantiles = list(quantiles)
        self._precision = quantile_precision
        need("datasketches", "ApproximateQuantile")
        super().__init__(alias_name or f"approx_quantile({on})", lambda: self.zero(quantile_precision), on=on)

    @staticmethod
    def zero(quantile_precision: int) -> bytes:
        """Return the sketch of no values."""
        sketches = need("datasketches", "ApproximateQuantile")
        made: bytes = sketches.kll_doubles_sketch(quantile_precision).serialize()
        return made

    def aggregate_block(self, block: Any) -> bytes:
        """Return the sketch of a table's values."""
        sketch = need("datasketches", "ApproximateQuantile").kll_doubles_sketch(self._precision)
        numbers = pc.cast(block.column(self.on), "float64").to_numpy()
        sketch.update(np.array(numbers))  # of its own memory: it refuses views
        made: bytes = sketch.serialize()
        return made

    def combine(self, current_accumulator: bytes, new: bytes) -> bytes:
        """Return the sketch of both."""
        kind = need("datasketches", "ApproximateQuantile").kll_doubles_sketch
        one = kind.deserialize(current_accumulator)
        one.merge(kind.deserialize(new))
        made: bytes = one.serialize()
        return made

    def finalize(self, accumulator: bytes) -> list[float | None]:
        """Return the quantiles; None for each where there are no values."""
        sketch = need("datasketches", "ApproximateQuantile").kll_doubles_sketch.deserialize(accumulator)
        if sketch.is_empty():
            return [None] * len(self._quantiles)
        return [float(each) for each in sketch.get_quantiles(self._quantiles)]


class ApproximateTopK(AggregateFnV2):
    """The values that are there most often and how often about, as a list of structs. Needs datasketches.

    Parameters: `k` is how many; `log_capacity` is the logarithm (to base 2) of how many different values are kept
    count of. With `encode_lists` lists are counted by their values, else as wholes.

    Example: `ds.aggregate(ApproximateTopK("word", k=10))`
    """

    def __init__(
        self,
        on: str,
        k: int,
        log_capacity: int = 15,
        alias_name: str | None = None,
        encode_lists: bool = False,
    ) -> None:
        check_count("k", k, optional=False)
        self._k = k
        self._capacity = log_capacity
        self._encode_lists = encode_lists
        need("datasketches", "ApproximateTopK")
        super().__init__(alias_name or f"approx_topk({on})", lambda: self.zero(log_capacity), on=on)

    @staticmethod
    def zero(log_capacity: int) -> bytes:
        """Return the sketch of no values."""
        return _dumped(need("datasketches", "ApproximateTopK").frequent_items_sketch(log_capacity))

    def aggregate_block(self, block: Any) -> bytes:
        """Return the sketch of a table's values."""
        sketch = need("datasketches", "ApproximateTopK").frequent_items_sketch(self._capacity)
        column = block.column(self.on)
        is_list = hasattr(column.type, "value_type") and self._encode_lists
        counts: dict[Any, int] = {}
        for value in (pc.list_flatten(column) if is_list else column).to_pylist():
            kept = tuple(value) if isinstance(value, list) else value
            counts[kept] = counts.get(kept, 0) + 1
        for kept, count in counts.items():
            sketch.update(kept, count)
        return _dumped(sketch)

    def combine(self, current_accumulator: bytes, new: bytes) -> bytes:
        """Return the sketch of both."""
        one = _loaded(current_accumulator)
        one.merge(_loaded(new))
        return _dumped(one)

    def finalize(self, accumulator: bytes) -> list[dict[str, Any]]:
        """Return the most frequent values and their counts, the most frequent first."""
        sketch = _loaded(accumulator)
        kind = need("datasketches", "ApproximateTopK").frequent_items_error_type.NO_FALSE_NEGATIVES
        found = sorted(sketch.get_frequent_items(kind), key=lambda each: -each[1])[: self._k]
        return [
            {
                self.on or "value": list(each[0]) if isinstance(each[0], tuple) else each[0],
                "count": int(each[1]),
            }
            for each in found
        ]


def _dumped(sketch: Any) -> bytes:
    made: bytes = sketch.serialize(_serde())
    return made


def _loaded(data: bytes) -> Any:
    return need("datasketches", "ApproximateTopK").frequent_items_sketch.deserialize(data, _serde())


def _serde() -> Any:
    """How values are written in a sketch: pickled, since they travel between our own processes only."""
    import pickle

    base: Any = need("datasketches", "ApproximateTopK").PyObjectSerDe

    class Pickled(base):  # type: ignore[misc]
        def get_size(self, item: Any) -> int:
            return 8 + len(pickle.dumps(item))

        def to_bytes(self, item: Any) -> bytes:
            data = pickle.dumps(item)
            return len(data).to_bytes(8, "little") + data

        def from_bytes(self, data: bytes, offset: int) -> tuple[Any, int]:
            size = int.from_bytes(data[offset : offset + 8], "little")
            return pickle.loads(data[offset + 8 : offset + 8 + size]), 8 + size

    return Pickled()
