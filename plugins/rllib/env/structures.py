"""Values of any space, nested or not: put together, taken apart, as rows of zeros with a one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import optree


def batch(items: Sequence[Any]) -> Any:
    """Return arrays, with a row for each item, in the form of the items (nested dictionaries, tuples, lists).

    Items that are no numbers, such as dictionaries that differ, become an array of objects.

    Example: `batch([{"x": 1}, {"x": 2}])["x"]  # array([1, 2])`
    """
    first = items[0]
    if isinstance(first, (dict, tuple)) and first:
        try:
            return optree.tree_map(lambda *leaves: _stacked(leaves), *items)
        except ValueError:  # dictionaries that differ, such as infos
            return objects(items)
    return _stacked(items)


def unbatch(rows: Any) -> list[Any]:
    """Return the items of arrays with a row for each.

    Example: `unbatch({"x": np.array([1, 2])})  # [{"x": 1}, {"x": 2}]`
    """
    leaves, form = optree.tree_flatten(rows)
    return [
        optree.tree_unflatten(form, [leaf[number] for leaf in leaves]) for number in range(len(leaves[0]))
    ]


def one_hot(item: Any, space: Any) -> Any:
    """Return a value of a space with each choice as a row of zeros with a one (several of them one behind the other).

    Example: `one_hot(1, gymnasium.spaces.Discrete(3))  # array([0., 1., 0.], dtype=float32)`
    """
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: one_hot(item[name], each) for name, each in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(one_hot(part, each) for part, each in zip(item, space.spaces, strict=True))
    if isinstance(space, gymnasium.spaces.Discrete):
        return np.eye(int(space.n), dtype=np.float32)[np.asarray(item) - int(space.start)]
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        rows = [
            np.eye(int(n), dtype=np.float32)[c] for n, c in zip(space.nvec.flat, np.ravel(item), strict=True)
        ]
        return np.concatenate(rows)
    return item


def zeros_like(item: Any) -> Any:
    """Return zeros of the form of an item or of a space's values; None for what has no numbers.

    Example: `zeros_like({"x": np.ones(2)})["x"]  # array([0., 0.])`
    """
    if item is None:
        return None
    if isinstance(item, gymnasium.Space):
        item = item.sample()
    arrays = optree.tree_map(np.asarray, item)
    if any(leaf.dtype == object for leaf in optree.tree_leaves(arrays)):
        return None
    return optree.tree_map(np.zeros_like, arrays)


def _stacked(leaves: Sequence[Any]) -> Any:
    if isinstance(leaves[0], (dict, str)) or leaves[0] is None:
        return objects(leaves)
    return np.stack([np.asarray(each) for each in leaves])


def objects(items: Sequence[Any]) -> Any:
    """Return an array of things as they are.

    Example: `objects([{}, {"a": 1}]).shape  # (2,)`
    """
    made = np.empty(len(items), dtype=object)
    for number, each in enumerate(items):
        made[number] = each
    return made
