"""Blocks: the Arrow tables that a dataset is made of, and how they become rows and batches and are made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.checks import need
from shoal.errors import describe

Block: TypeAlias = Any  # a pyarrow.Table; pyarrow comes without types
Row = dict[str, Any]
FORMATS = ("numpy", "pandas", "pyarrow", "polars", "torch")
DEFAULT_COLUMN = "data"  # where the values of an array without a name go
_SLACK = 1.25  # times its own bytes that a table may bring along
_FREE = 4096  # bytes that are never worth a copy
_GATHERED = 4  # the part of a table's rows that are taken for which its pieces are put together first
ITEM_COLUMN = "item"  # where the items that are no mappings go


def check_format(batch_format: str | None) -> str:
    """Return a batch format in its one form; "default" and None are "numpy" and "pyarrow".

    Raises ValueError naming the formats that there are.

    Example: `check_format("default")  # "numpy"`
    """
    known = {"default": "numpy", None: "pyarrow", "arrow": "pyarrow"}
    name = known.get(batch_format, batch_format)
    if name not in FORMATS:
        raise ValueError(f"batch_format must be one of {', '.join(FORMATS)}, not {describe(batch_format)}")
    return name


def to_batch(table: Block, batch_format: str) -> Any:
    """Return a table as a batch: a dict of arrays ("numpy"), a DataFrame ("pandas", "polars"), itself ("pyarrow"), or a
    dict of tensors ("torch"). The last three need their libraries.

    Example: `to_batch(table, "numpy")["x"].mean()`
    """
    if batch_format == "pyarrow":
        return table
    if batch_format == "numpy":
        return {name: to_numpy(table.column(name)) for name in table.column_names}
    if batch_format == "torch":
        from shoal.data.tensors import to_tensors

        return to_tensors(to_batch(table, "numpy"), None, "cpu")
    if batch_format == "polars":
        columns = [_storage(column) for column in table.columns]
        plain = pa.table(columns, names=table.column_names)
        return need("polars", 'batch_format="polars"').from_arrow(plain)
    import pandas as pd

    plain = [name for name in table.column_names if not _is_tensor(table.schema.field(name).type)]
    frame = table.select(plain).to_pandas()
    for position, name in enumerate(table.column_names):
        if name not in frame.columns:
            frame.insert(position, name, pd.Series(list(to_numpy(table.column(name))), index=frame.index))
    return frame


def to_numpy(column: Any) -> Any:
    """Return a column as an array; a column of tensors as one with more dimensions. May be a read-only view.

    Example: `to_numpy(table.column("x"))`
    """
    if _is_tensor(column.type):
        combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if isinstance(combined, pa.ChunkedArray):  # no chunks at all
            return np.empty((0, *column.type.shape), dtype=column.type.value_type.to_pandas_dtype())
        return combined.to_numpy_ndarray()
    if hasattr(column.type, "to_pandas_dtype") and isinstance(
        column.type, pa.ExtensionType
    ):  # of our extensions
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return np.concatenate([chunk.to_numpy() for chunk in chunks])
    column = decoded(column)  # Arrow itself gives the first category in the place of a null
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            column = column.chunk(0)
        elif column.num_chunks == 0:
            column = pa.array([], type=column.type)
        else:
            return column.to_numpy()
    return column.to_numpy(zero_copy_only=False)


def decoded(column: Any) -> Any:
    """Return a column of categories as one of plain values; others as they are. Many kernels take no categories.

    Example: `decoded(table.column("color"))`
    """
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def from_batch(batch: Any) -> Block:
    """Return the table of a batch in any of the formats. Raises TypeError or ValueError that says what came.

    Example: `from_batch({"x": np.arange(3)})`
    """
    if isinstance(batch, pa.Table):
        return batch
    if isinstance(batch, pa.RecordBatch):
        return pa.Table.from_batches([batch])
    if isinstance(batch, Mapping):
        return _from_columns(batch)
    if type(batch).__module__.partition(".")[0] == "pandas" and hasattr(batch, "columns"):
        return _from_pandas(batch)
    if type(batch).__module__.partition(".")[0] == "polars" and hasattr(batch, "to_arrow"):
        return batch.to_arrow()
    raise TypeError(
        "a function given to map_batches must return (or yield) a dict of arrays, a DataFrame of pandas or polars, or "
        f"a pyarrow.Table, not {describe(batch)}"
    )


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Block:
    """Return the table of rows, whose columns are all names in order of appearance; what a row lacks is null.

    Raises TypeError for a row that is no mapping and ValueError for values of one column that do not fit together.

    Example: `from_rows([{"x": 1}, {"x": 2, "y": "b"}])`
    """
    names: dict[str, None] = {}
    for row in rows:
        if not isinstance(row, Mapping):
            raise TypeError(
                f'a row must be a mapping of names to values, such as {{"x": 1}}, not {describe(row)}'
            )
        names.update(dict.fromkeys(row))
    return _from_columns({name: [row.get(name) for row in rows] for name in names}, rows=len(rows))


def to_column(name: str, values: Any) -> Any:
    """Return values as an Arrow array: arrays of more than one dimension become fixed-shape tensors.

    Raises ValueError naming the column if the values have no common type.

    Example: `to_column("image", np.zeros((8, 32, 32)))`
    """
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    try:
        if type(values).__module__ == "torch" and hasattr(values, "detach"):
            values = values.detach().cpu().numpy()
        array = values if isinstance(values, np.ndarray) else _stacked(values)
        if isinstance(array, np.ndarray):
            if array.ndim > 1 and not len(array):
                kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(array.dtype), array.shape[1:])
                return pa.ExtensionArray.from_storage(kind, pa.array([], kind.storage_type))
            if array.ndim > 1:
                # An axis of length 1 that was put in front has strides that Arrow refuses: a copy has plain ones.
                plain = array.copy() if len(array) == 1 else np.ascontiguousarray(array)
                return pa.FixedShapeTensorArray.from_numpy_ndarray(plain)
            if array.ndim == 0:
                raise ValueError("a single value stands where a column of values is needed")
            return pa.array(array.tolist() if array.dtype == object else array)
        return pa.array(array)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise ValueError(f"the values of column {name!r} do not make one column: {error}") from error


def rows_of(table: Block) -> Iterable[Row]:
    """Yield the rows of a table as dicts of Python values; tensors as arrays.

    Example: `for row in rows_of(table): ...`
    """
    if not table.num_columns:
        return
    columns = [
        list(to_numpy(column)) if _is_tensor(column.type) else column.to_pylist() for column in table.columns
    ]
    names = table.column_names
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def concat(tables: Sequence[Block]) -> Block:
    """Return tables as one. Columns that some lack are null there, and numbers take the wider type.

    Raises ValueError naming what does not fit together.

    Example: `concat([a, b]).num_rows == a.num_rows + b.num_rows`
    """
    filled = [table for table in tables if table.num_columns] or list(tables[:1])
    if not filled:
        return pa.table({})
    if all(table.schema.equals(filled[0].schema) for table in filled):
        return pa.concat_tables(filled)
    try:
        return pa.concat_tables(filled, promote_options="permissive")
    except pa.ArrowException as error:
        shown = "; ".join(
            sorted({", ".join(f"{f.name}: {f.type}" for f in table.schema) for table in filled})
        )
        raise ValueError(
            f"blocks of different columns or types cannot be joined: {shown} ({error})"
        ) from error


def size_of(table: Block) -> int:
    """Return how many bytes the table's values take, slices counted by their own length.

    Example: `size_of(pa.table({"x": [1, 2]}))  # 16`
    """
    return int(table.nbytes)


def compact(table: Block) -> Block:
    """Return a table that holds its own rows only; one that is a small part of larger memory is copied out of it.

    A slice is sent with all of the memory that it is a slice of.

    Example: `shoal.put(compact(table.slice(0, 10)))`
    """
    if table.get_total_buffer_size() <= _SLACK * table.nbytes + _FREE:
        return table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def take_rows(table: Block, indices: Any) -> Block:
    """Return the rows at the given positions, in that order; tensors of any shape included.

    Example: `take_rows(table, np.array([2, 0]))`
    """
    if _GATHERED * len(indices) > table.num_rows and any(column.num_chunks > 1 for column in table.columns):
        table = table.combine_chunks()  # Arrow takes from one piece of memory faster than it looks for pieces
    if not any(_is_tensor(field.type) for field in table.schema):
        return table.take(pa.array(indices))
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if _is_tensor(field.type):
            columns.append(to_column(field.name, to_numpy(column)[np.asarray(indices)]))
        else:
            columns.append(pc.take(column, pa.array(indices)))
    return pa.table(columns, names=table.column_names)


def _storage(column: Any) -> Any:
    """Tensors as lists of a fixed length, for libraries that know no tensors; other columns as they are."""
    if not _is_tensor(column.type):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _is_tensor(kind: Any) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType)


def _stacked(values: Any) -> Any:
    """Arrays of one shape as one array; other values as they are."""
    values = list(values)
    if values and all(isinstance(value, np.ndarray) for value in values):
        if len({(value.shape, value.dtype) for value in values}) == 1:
            return np.stack(values)
        if any(value.ndim > 1 for value in values):
            shapes = sorted({str(value.shape) for value in values})
            raise ValueError(
                f"arrays of different shapes ({', '.join(shapes)}) cannot be one column of tensors"
            )
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _from_columns(columns: Mapping[Any, Any], rows: int | None = None) -> Block:
    arrays: dict[str, Any] = {}
    for name, values in columns.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of columns must be text, not {describe(name)}")
        if not isinstance(values, (list, tuple, np.ndarray, pa.Array, pa.ChunkedArray)) and (
            isinstance(values, (str, bytes)) or not hasattr(values, "__len__")
        ):
            raise TypeError(f"column {name!r} must be a list or an array, not {describe(values)}")
        arrays[name] = to_column(name, values)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"the columns of a batch must have the same length, not {shown}")
    return pa.table(arrays)


def _from_pandas(frame: Any) -> Block:
    columns = {}
    for name in frame.columns:
        values = frame[name]
        if (
            getattr(values.dtype, "element_shape", None) is not None
        ):  # a column of tensors, from our extensions
            columns[str(name)] = values.array.to_numpy()
            continue
        is_tensors = len(values) and isinstance(values.iloc[0], np.ndarray)
        columns[str(name)] = list(values) if is_tensors else pa.array(values, from_pandas=True)
    return _from_columns(columns)
