"""The order of a table's rows by some of its columns, and the groups that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import Block, decoded, take_rows
from shoal.data.radix import order_of_words, words_of


def groups_of(table: Block, keys: Sequence[str]) -> Iterator[Block]:
    """Yield the groups of rows with equal keys, in the order of the keys; without keys, the table.

    Example: `for group in groups_of(table, ["city"]): ...`
    """
    if not keys:
        yield table
        return
    if not table.num_rows:
        return
    ordered = take_rows(table, order_of(table, tuple((name, False) for name in keys)))
    changes = np.zeros(ordered.num_rows - 1, dtype=bool)
    for name in keys:
        codes = decoded(ordered.column(name)).combine_chunks()
        numbers = pc.dictionary_encode(codes, null_encoding="encode").indices.to_numpy(zero_copy_only=False)
        changes = changes | (numbers[1:] != numbers[:-1])
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), ordered.num_rows]
    for start, end in pairwise(edges):
        yield ordered.slice(start, end - start)


def order_of(table: Block, keys: Sequence[tuple[str, bool]]) -> Any:
    """Return the positions of a table's rows in the order of (name, descending) keys, an array; stable, nulls last.

    Categories are in the order of their values.

    Example: `order_of(table, [("price", True), ("name", False)])`
    """
    words = []
    for name, down in keys:
        words.append(words_of(table.column(name), down))
        if words[-1] is None:
            break
    else:
        return order_of_words(words)
    directions = [(name, "descending" if down else "ascending") for name, down in keys]
    plain = pa.table({name: decoded(table.column(name)) for name, _ in keys})
    return pc.sort_indices(plain, sort_keys=directions).to_numpy()
