"""Verbs that loop over what gives blocks: a dataset, or one of the parts of a dataset that is split while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from shoal.data.block import Block, Row, check_format, rows_of, to_batch
from shoal.data.checks import check_count
from shoal.data.iteration import ahead, shuffled
from shoal.data.schema import Schema
from shoal.data.transforms import batches_of
from shoal.interfaces.current import current


class Iterating(ABC):
    """Loops over rows and batches of whatever gives blocks."""

    @abstractmethod
    def _blocks(self) -> Iterator[Block]:
        """Give the blocks, from the beginning."""

    @abstractmethod
    def _schema(self) -> Any:
        """The Arrow schema, None if there are no rows."""

    def iter_rows(self) -> Iterator[Row]:
        """Yield each row as a dict of Python values, while the rest is still computed.

        Example: `for row in ds.iter_rows(): ...`
        """
        for table in self._blocks():
            yield from rows_of(table)

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterator[Any]:
        """Yield batches of `batch_size` rows (None: whole blocks), while the rest is still computed.

        Parameters: `prefetch_batches` is how many are made ready ahead, by a thread; 0 makes none. `batch_format` is
        "numpy", "pandas", "pyarrow", "polars" or "torch". `drop_last` leaves out a last batch that is not full. With
        `local_shuffle_buffer_size` rows are drawn at random from a buffer of at least so many.
        Raises ValueError for wrong parameters, and what the plan raises.

        Example: `for batch in ds.iter_batches(batch_size=128): train(batch["x"])`
        """
        check_count("batch_size", batch_size)
        kind = check_format(batch_format)
        check_count("prefetch_batches", prefetch_batches, 0, optional=False)
        check_count("local_shuffle_buffer_size", local_shuffle_buffer_size)
        check_count("local_shuffle_seed", local_shuffle_seed, 0)
        if drop_last and batch_size is None:
            raise ValueError("drop_last=True needs a batch_size")

        def batches() -> Iterator[Any]:
            blocks: Iterable[Block] = self._blocks()
            if local_shuffle_buffer_size is not None:
                blocks = shuffled(blocks, local_shuffle_buffer_size, batch_size, local_shuffle_seed)
            for table in batches_of(blocks, batch_size, drop_last):
                yield self._to_batch(table, kind)

        if prefetch_batches and self._runs_elsewhere():
            return self._given(ahead(batches(), prefetch_batches))
        return self._given(batches())

    def _to_batch(self, table: Block, kind: Any) -> Any:
        """What a batch is made of a table. Runs ahead of the loop."""
        return to_batch(table, kind)

    def _given(self, items: Iterator[Any]) -> Iterator[Any]:
        """What the loop gets of the batches that were made."""
        return items

    def schema(self, fetch_if_missing: bool = True) -> Schema | None:
        """Return the columns and their types; None for a dataset without rows.

        The first rows are computed if need be, unless `fetch_if_missing` is False: then None stands for not known.

        Example: `ds.schema().names`
        """
        found = self._schema() if fetch_if_missing else self._schema_so_far()
        return None if found is None else Schema(found)

    def _schema_so_far(self) -> Any:
        """The Arrow schema, None if something would have to be computed for it."""
        return None

    @staticmethod
    def _runs_elsewhere() -> bool:
        """Whether a thread that waits for blocks leaves the program's thread anything to gain."""
        engine = current.engine
        return engine is None or "processes" in engine.capabilities
