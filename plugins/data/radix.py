"""The order of numbers by radix: several times faster than by comparisons, and stable.

Columns become unsigned words that are in the order of the values; words are sorted 16 bits at a time, from the lowest
up (LSD radix sort: Knuth, The Art of Computer Programming, volume 3, 5.2.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from shoal.data.block import decoded

_DIGIT = 16  # bits, of which numpy sorts whole arrays by counting


def words_of(column: Any, descending: bool) -> Any:
    """Return a column as an array of unsigned words that are in the order of its values; None if there is none.

    Numbers, dates and times have one, unless some are null or NaN.

    Example: `words_of(pa.chunked_array([[3, -1]]), False)`
    """
    column = decoded(column)
    kind = column.type
    if column.null_count or not (
        pa.types.is_integer(kind)
        or pa.types.is_temporal(kind)
        or _is_float(kind)
        or pa.types.is_boolean(kind)
    ):
        return None
    if pa.types.is_interval(kind):
        return None
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_temporal(kind):
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    values = np.ascontiguousarray(column.to_numpy())
    sign = np.array(1, f"u{values.itemsize}") << np.array(8 * values.itemsize - 1, f"u{values.itemsize}")
    if values.dtype.kind == "f":
        if np.isnan(values).any():
            return None
        values = values + values.dtype.type(0)  # of the two zeros, which are equal, one
        bits = values.view(sign.dtype)
        words = np.where(bits & sign, ~bits, bits | sign)
    elif values.dtype.kind == "i":
        words = values.view(sign.dtype) ^ sign
    else:
        words = values
    return ~words if descending else words


def order_of_words(keys: Sequence[Any]) -> Any:
    """Return the positions of rows in the order of their words, the first key before the others; stable.

    Example: `order_of_words([np.array([2, 1], "u8")])`
    """
    order = None
    for words in reversed(keys):
        if not len(words):
            return np.arange(0)
        low = words.min()
        span = int(words.max()) - int(low)
        offsets = words - low
        for shift in range(0, max(span.bit_length(), 1), _DIGIT):
            digits = (offsets >> words.dtype.type(shift)).astype(np.uint16)
            if order is None:
                order = np.argsort(digits, kind="stable")
            else:
                order = order[np.argsort(digits[order], kind="stable")]
    return order


def _is_float(kind: Any) -> bool:
    return bool(pa.types.is_float32(kind) or pa.types.is_float64(kind))
