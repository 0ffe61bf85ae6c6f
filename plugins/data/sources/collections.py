"""Sources that are collections of other libraries: anything with a length and items, or that can be iterated over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from shoal.data.block import ITEM_COLUMN, Block
from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask
from shoal.data.sources.memory import cut
from shoal.data.sources.records import in_tables


@attrs.frozen(eq=False)
class IndexedDatasource(Datasource):
    """Items by their numbers, as torch's map-style datasets give them: `len(items)` and `items[number]`.

    The collection travels to every task, so what it holds should be small or be opened at use.

    Example: `read_datasource(IndexedDatasource(torch_dataset))`
    """

    items: Any

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before items are made."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of numbers."""
        return [
            ReadTask(_Stretch(self.items, start, stop), BlockMetadata(stop - start))
            for start, stop in cut(len(self.items), parallelism)
        ]

    def describe(self) -> str:
        """Return what a person calls this source."""
        return type(self.items).__name__


@attrs.frozen(eq=False)
class _Stretch:
    items: Any
    start: int
    stop: int

    def __call__(self) -> Iterator[Block]:
        return in_tables(_row(self.items[number]) for number in range(self.start, self.stop))


@attrs.frozen(eq=False)
class IteratedDatasource(Datasource):
    """Items one after another, as torch's iterable datasets and others' streams give them. One task reads them.

    Example: `read_datasource(IteratedDatasource(stream))`
    """

    items: Iterable[Any]

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before items are made."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return the only piece."""
        return [ReadTask(_Whole(self.items))]

    def describe(self) -> str:
        """Return what a person calls this source."""
        return type(self.items).__name__


@attrs.frozen(eq=False)
class _Whole:
    items: Iterable[Any]

    def __call__(self) -> Iterator[Block]:
        return in_tables(map(_row, self.items))


def _row(item: Any) -> Mapping[str, Any]:
    return item if isinstance(item, Mapping) else {ITEM_COLUMN: item}
