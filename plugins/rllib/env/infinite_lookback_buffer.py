"""A list of what each step of an episode gave, with the last steps of what was before it to look back at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import optree

from shoal.rllib.env.structures import batch, one_hot, zeros_like
from shoal.rllib.spaces.space_values import get_base_struct_from_space


class InfiniteLookbackBuffer:
    """Items of an episode's steps, of which the first `lookback` were before it began.

    Index 0 is the first item behind the lookback. Negative indices count from the end, or with `neg_index_as_lookback`
    backwards from index 0 into the lookback. `finalize` makes one array of the items (or a structure of arrays), which
    takes less memory and is quicker to read, and which nothing can be put in place of other shapes.

    Parameters: `data` are the items, or what `finalize` made; `space` is that of an item, for `one_hot_discrete`.

    Example: `InfiniteLookbackBuffer([1, 2, 3, 4], lookback=2).get(-1, neg_index_as_lookback=True)  # 2`
    """

    def __init__(
        self, data: Any = None, lookback: int = 0, space: gymnasium.Space[Any] | None = None
    ) -> None:
        self.data: Any = [] if data is None else data
        self.finalized = not isinstance(self.data, list)
        self.space = space
        self.lookback = min(lookback, self.len_incl_lookback())

    @property
    def space_struct(self) -> Any:
        """The space's parts, in its form."""
        return None if self.space is None else get_base_struct_from_space(self.space)

    def __len__(self) -> int:
        return self.len_incl_lookback() - self.lookback

    def len_incl_lookback(self) -> int:
        """Return how many items there are with those of the lookback."""
        if not self.finalized:
            return len(self.data)
        leaves = optree.tree_leaves(self.data)
        return len(leaves[0]) if leaves else 0

    def __add__(self, other: Any) -> InfiniteLookbackBuffer:
        """Return a buffer with the other's items (a list's, or another buffer's behind its lookback) behind these."""
        made = InfiniteLookbackBuffer(self._items(), self.lookback, self.space)
        made.data = [*made.data, *(other._items()[other.lookback :] if hasattr(other, "lookback") else other)]
        return made

    def __getitem__(self, item: Any) -> Any:
        return self.get(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.set(value, at_indices=key)

    def append(self, item: Any) -> None:
        """Put an item at the end."""
        self.extend([item])

    def extend(self, items: Sequence[Any]) -> None:
        """Put items at the end."""
        if not self.finalized:
            self.data.extend(items)
        elif len(items):
            more = batch(list(items))
            self.data = optree.tree_map(lambda ours, theirs: np.concatenate([ours, theirs]), self.data, more)

    def concat(self, other: InfiniteLookbackBuffer) -> None:
        """Put another's items, but those of its lookback, at the end."""
        self.extend(other._items()[other.lookback :])

    def pop(self, index: int = -1) -> None:
        """Take an item away."""
        place = self._place(index, False)
        if not self.finalized:
            del self.data[place]
        else:
            self.data = optree.tree_map(lambda array: np.delete(array, place, axis=0), self.data)

    def finalize(self) -> None:
        """Make arrays of the items. Again does nothing."""
        if not self.finalized and self.data:
            self.data = batch(self.data)
            self.finalized = True

    def get(
        self,
        indices: int | slice | Sequence[int] | None = None,
        *,
        neg_index_as_lookback: bool = False,
        fill: Any = None,
        one_hot_discrete: bool = False,
        _ignore_last_ts: bool = False,
        _add_last_ts_value: Any = None,
    ) -> Any:
        """Return items: one for a number, several (an array once `finalize` was called) for a slice or a list.

        None means all but those of the lookback. Places where nothing is are `fill`, or raise IndexError without it; a
        slice without it is cut instead. With `one_hot_discrete` choices become rows of zeros with a one.
        """
        if isinstance(indices, int):
            return self._shown(self._at(indices, neg_index_as_lookback, fill), one_hot_discrete)
        wanted = self._listed(indices, neg_index_as_lookback, fill is not None, _ignore_last_ts)
        found = [self._at_place(place, fill) for place in wanted]
        if _add_last_ts_value is not None:
            found.append(_add_last_ts_value)
        found = [self._shown(each, one_hot_discrete) for each in found]
        return batch(found) if self.finalized and found else found

    def set(
        self,
        new_data: Any,
        *,
        at_indices: int | slice | Sequence[int] | None = None,
        neg_index_as_lookback: bool = False,
    ) -> None:
        """Put others in the places of items that are there. Raises IndexError, and ValueError for another number."""
        if isinstance(at_indices, int):
            self._put(self._place(at_indices, neg_index_as_lookback), new_data)
            return
        places = self._listed(at_indices, neg_index_as_lookback, False, False)
        leaves = optree.tree_leaves(new_data) if not isinstance(new_data, list) else [new_data]
        if len(leaves[0]) != len(places):
            raise ValueError(f"{len(leaves[0])} items for {len(places)} places")
        for number, place in enumerate(places):
            item = (
                new_data[number]
                if isinstance(new_data, list)
                else optree.tree_map(lambda array, at=number: array[at], new_data)
            )
            self._put(place, item)

    def get_state(self) -> dict[str, Any]:
        """Return all that `from_state` needs."""
        return {"data": self.data, "lookback": self.lookback, "space": self.space}

    @staticmethod
    def from_state(state: dict[str, Any]) -> InfiniteLookbackBuffer:
        """Return the buffer whose state `get_state` gave."""
        return InfiniteLookbackBuffer(state["data"], state["lookback"], state["space"])

    def sliced(self, start: int, stop: int, step: int | None, lookback: int) -> InfiniteLookbackBuffer:
        """Return a buffer of the items from `start` to `stop`, and at most `lookback` of those before them."""
        begin = self.lookback + start
        kept = min(lookback, begin)
        part = slice(begin - kept, self.lookback + stop)
        data = optree.tree_map(lambda array: array[part], self.data) if self.finalized else self.data[part]
        if step not in (None, 1):
            before = data[:kept] if not self.finalized else optree.tree_map(lambda a: a[:kept], data)
            behind = (
                data[kept::step] if not self.finalized else optree.tree_map(lambda a: a[kept::step], data)
            )
            data = (
                [*before, *behind]
                if not self.finalized
                else optree.tree_map(lambda a, b: np.concatenate([a, b]), before, behind)
            )
        return InfiniteLookbackBuffer(data, kept, self.space)

    def _items(self) -> list[Any]:
        if not self.finalized:
            return list(self.data)
        return [self._read(place) for place in range(self.len_incl_lookback())]

    def _read(self, place: int) -> Any:
        return optree.tree_map(lambda array: array[place], self.data) if self.finalized else self.data[place]

    def _put(self, place: int, item: Any) -> None:
        if not self.finalized:
            self.data[place] = item
            return

        def put(array: Any, value: Any) -> None:
            array[place] = value

        optree.tree_map_(put, self.data, item)

    def _place(self, index: int, as_lookback: bool) -> int:
        size = self.len_incl_lookback()
        place = self.lookback + index if index >= 0 or as_lookback else size + index
        if not 0 <= place < size:
            raise IndexError(f"index {index} of {len(self)} items and {self.lookback} to look back at")
        return place

    def _at(self, index: int, as_lookback: bool, fill: Any) -> Any:
        try:
            return self._read(self._place(index, as_lookback))
        except IndexError:
            if fill is None:
                raise
            return self._filled(fill)

    def _at_place(self, place: int, fill: Any) -> Any:
        return self._read(place) if 0 <= place < self.len_incl_lookback() else self._filled(fill)

    def _filled(self, fill: Any) -> Any:
        like = zeros_like(self._read(0) if self.len_incl_lookback() else self.space)
        return optree.tree_map(lambda array: np.full_like(array, fill), like) if like is not None else fill

    def _listed(self, indices: Any, as_lookback: bool, filled: bool, ignores_last: bool) -> list[int]:
        """Places from the first item, the lookback's too; with `filled` some are outside."""
        size = self.len_incl_lookback() - int(ignores_last)
        if indices is None:
            return list(range(self.lookback, size))
        if not isinstance(indices, slice):
            if filled:
                return [self.lookback + i if i >= 0 or as_lookback else size + i for i in indices]
            return [self._place(i, as_lookback) for i in indices]

        def place(given: int | None, otherwise: int) -> int:
            if given is None:
                return otherwise
            return self.lookback + given if given >= 0 or as_lookback else size + given

        step = indices.step or 1
        start = place(indices.start, self.lookback if step > 0 else size - 1)
        stop = place(indices.stop, size if step > 0 else self.lookback - 1)
        if not filled:
            start, stop = max(0, min(start, size)), max(-1 if step < 0 else 0, min(stop, size))
        return list(range(start, stop, step))

    def _shown(self, item: Any, as_one_hot: bool) -> Any:
        return one_hot(item, self.space) if as_one_hot and self.space is not None else item
