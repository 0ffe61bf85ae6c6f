"""Numbers are ordered by counting their digits, exactly as Arrow orders them by comparisons."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given

from shoal.data.dividing import bounds_of, cut_at
from shoal.data.ordering import order_of
from shoal.data.radix import words_of

KINDS: dict[Any, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.uint16(): st.integers(0, 2**16 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.integers(-(10**15), 10**15),
    pa.duration("ms"): st.integers(-(10**9), 10**9),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, list[tuple[str, bool]]]:
    rows = draw(st.integers(0, 40))
    columns, keys = {}, []
    for name in "abc"[: draw(st.integers(1, 3))]:
        kind = draw(st.sampled_from(list(KINDS)))
        few = draw(st.lists(KINDS[kind], min_size=1, max_size=6))  # so that keys are equal now and then
        values = draw(st.lists(st.sampled_from(few), min_size=rows, max_size=rows))
        columns[name] = pa.array(values, kind if not pa.types.is_timestamp(kind) else pa.int64()).cast(kind)
        keys.append((name, draw(st.booleans())))
    cut = draw(st.integers(0, rows))
    table = pa.table(columns)
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)]), keys


@given(tables())
@example((pa.table({"a": [0.0, -0.0, 0.0]}), [("a", True)]))
def test_the_order_is_arrows_own(given: tuple[pa.Table, list[tuple[str, bool]]]) -> None:
    table, keys = given
    assert all(words_of(table.column(name), down) is not None for name, down in keys)
    directions = [(name, "descending" if down else "ascending") for name, down in keys]
    expected = pc.sort_indices(table, sort_keys=directions).to_pylist()
    assert order_of(table, keys).tolist() == expected


@pytest.mark.parametrize(
    "values", [[1, None, 0], [1.0, float("nan"), 0.0], ["b", "a", None]], ids=["null", "NaN", "text"]
)
def test_what_has_no_words_is_ordered_by_comparisons(values: list[Any]) -> None:
    table = pa.table({"a": values})
    assert words_of(table.column("a"), False) is None
    assert (
        order_of(table, [("a", False)]).tolist()
        == pc.sort_indices(table, sort_keys=[("a", "ascending")]).to_pylist()
    )


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("kind", [pa.int64(), pa.string()], ids=str)
def test_a_block_is_cut_at_bounds_and_rows_of_equal_keys_keep_their_order(kind: Any, down: bool) -> None:
    keys = np.random.default_rng(1).integers(10, 40, 500)
    table = pa.table({"key": pa.array(keys).cast(kind), "place": np.arange(500)})
    by = [("key", down)]
    bounds = bounds_of([table], by, 5)
    parts = cut_at(table, by, bounds)
    assert len(parts) == bounds.num_rows + 1
    joined = pa.concat_tables([part.take(order_of(part, by)) for part in parts])
    assert joined.equals(table.take(order_of(table, by)))
    for part, bound in zip(parts[1:], bounds.column("key").to_pylist(), strict=True):
        found = part.column("key").to_pylist()
        assert all(key <= bound if down else key >= bound for key in found)
