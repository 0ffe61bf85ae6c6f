"""What makes of a batch what a training loop takes: functions of a table, of a dict of arrays, or of a DataFrame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from shoal.data.block import to_batch
from shoal.data.tensors import to_tensors
from shoal.errors import describe

T = TypeVar("T")


class CollateFn(ABC, Generic[T]):
    """Something for `iter_torch_batches(collate_fn=…)` that says itself which form of batch it takes.

    Subclass `ArrowBatchCollateFn`, `NumpyBatchCollateFn` or `PandasBatchCollateFn`, and write `__call__`.
    """

    batch_format: ClassVar[str] = "numpy"

    @abstractmethod
    def __call__(self, batch: T) -> Any:
        """Return what the loop is given for a batch."""


class ArrowBatchCollateFn(CollateFn[Any]):
    """Takes a pyarrow.Table, which costs no conversion.

    Example:
        class Lengths(ArrowBatchCollateFn):
            def __call__(self, batch): return torch.tensor(pc.utf8_length(batch["text"]).to_numpy())
    """

    batch_format = "pyarrow"


class NumpyBatchCollateFn(CollateFn[dict[str, Any]]):
    """Takes a dict of arrays, as a plain function does.

    Example:
        class Pixels(NumpyBatchCollateFn):
            def __call__(self, batch): return torch.from_numpy(batch["image"] / 255)
    """

    batch_format = "numpy"


class PandasBatchCollateFn(CollateFn[Any]):
    """Takes a pandas.DataFrame.

    Example:
        class Codes(PandasBatchCollateFn):
            def __call__(self, batch): return torch.from_numpy(batch["city"].astype("category").cat.codes.to_numpy())
    """

    batch_format = "pandas"


class DefaultCollateFn(ArrowBatchCollateFn):
    """Makes a tensor of each column, in ordinary memory: what `iter_torch_batches` does without a `collate_fn`.

    Parameters: `dtypes` is a torch type for all columns, or a mapping of columns to types. With `combine_chunks=False`
    a column is a list of tensors, one for each piece of memory it lies in, and nothing is copied. `num_workers` is how
    many threads make tensors of columns at the same time (0: none but the caller's).

    Example: `ds.iter_torch_batches(collate_fn=DefaultCollateFn(dtypes=torch.float32))`
    """

    def __init__(self, dtypes: Any = None, combine_chunks: bool = True, num_workers: int = 0) -> None:
        if type(num_workers) is not int or num_workers < 0:
            raise ValueError(f"num_workers must be a whole number ≥ 0, not {describe(num_workers)}")
        self.dtypes = dtypes
        self.combine_chunks = combine_chunks
        self.num_workers = num_workers

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Return tensors by the names of their columns. Raises TypeError for a column that is no numbers."""
        if not self.num_workers:
            return dict(map(self._made, self._columns(batch)))
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self.num_workers) as threads:
            return dict(threads.map(self._made, self._columns(batch)))

    @staticmethod
    def _columns(batch: Any) -> list[Any]:
        return [batch.select([name]) for name in batch.column_names]

    def _made(self, table: Any) -> tuple[str, Any]:
        [name] = table.column_names
        if self.combine_chunks:
            return name, to_tensors(to_batch(table, "numpy"), self.dtypes, "cpu")[name]
        column = table.column(name)
        pieces = [type(table).from_arrays([chunk], names=[name]) for chunk in column.chunks]
        return name, [to_tensors(to_batch(each, "numpy"), self.dtypes, "cpu")[name] for each in pieces]


def is_tensor_batch_type(batch: Any) -> bool:
    """Tell whether a batch is made of torch tensors: one, or lists, tuples and mappings of them.

    Example: `is_tensor_batch_type({"x": torch.zeros(3)})  # True`
    """
    if isinstance(batch, Mapping):
        return all(isinstance(name, str) and is_tensor_batch_type(each) for name, each in batch.items())
    if isinstance(batch, (list, tuple)):
        return all(map(is_tensor_batch_type, batch))
    return any(each.__module__ == "torch" and each.__name__ == "Tensor" for each in type(batch).__mro__)
