"""Hashes of rows that are equal in every process and for equal values of different types."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NULL = np.uint64(0x9E3779B97F4A7C15)


def hash_rows(columns: Sequence[Any], rows: int, salt: int = 0) -> Any:
    """Return one unsigned 64-bit number for each row of the columns; no columns give zeros.

    Numbers that are equal hash alike whatever their type, so that a column of whole numbers in one file and of
    fractions in the next meet. Python's own `hash` would differ between processes.

    Another `salt` gives numbers that have nothing to do with these.

    Example: `hash_rows([table.column("city")], table.num_rows) % np.uint64(8)`
    """
    mixed = np.full(rows, salt, dtype=np.uint64)
    for column in columns:
        mixed = _mix(mixed * np.uint64(31) + _hash_column(column))
    return mixed


def _hash_column(column: Any) -> Any:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _hash_column(column.cast(kind.value_type))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        numbers = column.cast(pa.float64(), safe=False)
        values = pc.fill_null(numbers, 0.0).to_numpy() + 0.0  # −0.0 becomes 0.0
        values = np.where(np.isnan(values), np.nan, values)  # one of the many
        hashed = _mix(values.view(np.uint64))
    else:
        encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        encoded = pc.dictionary_encode(encoded)
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        values = encoded.dictionary.to_pylist()
        table = np.fromiter((_hash_value(value) for value in values), dtype=np.uint64, count=len(values))
        indices = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
        hashed = table[indices] if len(table) else np.zeros(len(column), dtype=np.uint64)
    nulls = pc.is_null(column).to_numpy() if isinstance(column, pa.ChunkedArray) else None
    if nulls is None:
        nulls = pc.is_null(column).to_numpy(zero_copy_only=False)
    return np.where(nulls, _NULL, hashed)


def _hash_value(value: Any) -> int:
    data = (
        value
        if isinstance(value, bytes)
        else value.encode()
        if isinstance(value, str)
        else repr(value).encode()
    )
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _mix(values: Any) -> Any:
    """Spread the bits of 64-bit numbers (the finalizer of MurmurHash3); overflow is meant."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
        return values ^ (values >> np.uint64(33))
