"""Rows by their keys: a dataset that lies sorted in actors, each of which looks up its own stretch."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import shoal
from shoal.data.block import Block, concat, rows_of, take_rows
from shoal.data.checks import check_count

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset

_TIMEOUT = 600.0  # seconds for an actor to take in its blocks


class RandomAccessDataset:
    """Looks rows up by a column whose values are all different. Made by `ds.to_random_access_dataset`.

    The rows lie in memory of `num_workers` actors, which live as long as this.

    Example: `shoal.get(ds.to_random_access_dataset("id").get_async(5))`
    """

    def __init__(self, ds: Dataset, key: str, num_workers: int = 2) -> None:
        check_count("num_workers", num_workers, optional=False)
        schema = ds._schema()
        if schema is not None and key not in schema.names:
            raise KeyError(f"there is no column {key!r}; there are {', '.join(schema.names)}")
        whole = ds.sort(key).materialize()
        rows = whole.count()
        cuts = [number * rows // num_workers for number in range(1, num_workers)]
        parts = whole.split_at_indices(cuts) if cuts else [whole]
        kept = [part for part in parts if part.count()]
        self._parts = kept  # they hold the blocks until the actors have them
        make = shoal.remote(num_cpus=0)(_Shelf)
        self._shelves: list[Any] = [make.remote(key, *part.to_arrow_refs()) for part in kept]
        bounds = shoal.get([shelf.bounds.remote() for shelf in self._shelves], timeout=_TIMEOUT)
        self._firsts = [first for first, _ in bounds]
        self._counts = [count for _, count in bounds]
        self._asked = [0] * len(self._shelves)

    def get_async(self, key: Any) -> Any:
        """Return a reference to the row of a key, which is None if there is none.

        Example: `row = shoal.get(lookup.get_async(5))`
        """
        shelf = self._shelf_of(key)
        if shelf is None:
            return shoal.put(None)
        self._asked[shelf] += 1
        return self._shelves[shelf].one.remote(key)

    def multiget(self, keys: Sequence[Any]) -> list[dict[str, Any] | None]:
        """Return the rows of several keys, in their order; None for each that is not there.

        Example: `lookup.multiget([5, 3])`
        """
        wanted: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            shelf = self._shelf_of(key)
            if shelf is not None:
                wanted.setdefault(shelf, []).append(place)
        found: list[dict[str, Any] | None] = [None] * len(keys)
        calls = {}
        for shelf, places in wanted.items():
            self._asked[shelf] += len(places)
            calls[shelf] = self._shelves[shelf].many.remote([keys[place] for place in places])
        for shelf, rows in zip(calls, shoal.get(list(calls.values()), timeout=_TIMEOUT), strict=True):
            for place, row in zip(wanted[shelf], rows, strict=True):
                found[place] = row
        return found

    def stats(self) -> str:
        """Return how many rows each actor has, and how many it was asked for."""
        each = (
            f"{count} rows, asked {asked} times"
            for count, asked in zip(self._counts, self._asked, strict=True)
        )
        return f"{len(self._shelves)} actors: " + "; ".join(each)

    def _shelf_of(self, key: Any) -> int | None:
        place = bisect.bisect_right(self._firsts, key) - 1
        return place if place >= 0 else None


class _Shelf:
    """A stretch of the sorted rows, as an actor."""

    def __init__(self, key: str, *blocks: Block) -> None:
        self._table = concat(list(blocks))
        self._keys = self._table.column(key).to_pylist()

    def bounds(self) -> tuple[Any, int]:
        """Return the first key and how many rows there are."""
        return self._keys[0], len(self._keys)

    def one(self, key: Any) -> dict[str, Any] | None:
        """Return the row of a key, or None."""
        return self.many([key])[0]

    def many(self, keys: Sequence[Any]) -> list[dict[str, Any] | None]:
        """Return the rows of keys, None for each that is not there."""
        places = [bisect.bisect_left(self._keys, key) for key in keys]
        there = [
            place < len(self._keys) and self._keys[place] == key
            for place, key in zip(places, keys, strict=True)
        ]
        chosen = [place for place, is_there in zip(places, there, strict=True) if is_there]
        rows = iter(rows_of(take_rows(self._table, pa.array(chosen, pa.int64()))))
        return [next(rows) if is_there else None for is_there in there]
