"""Values of spaces, nested or not: cut, moved between bounds, put together, made flat, made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import optree

from shoal.rllib.env.structures import batch as batch_items
from shoal.rllib.env.structures import unbatch
from shoal.rllib.environments import flat_observation

__all__ = [
    "BatchedNdArray",
    "batch",
    "clip_action",
    "convert_element_to_space_type",
    "flatten_space",
    "flatten_to_single_ndarray",
    "get_base_struct_from_space",
    "get_dummy_batch_for_space",
    "get_original_space",
    "is_composite_space",
    "normalize_action",
    "unbatch",
    "unsquash_action",
]


class BatchedNdArray(np.ndarray[Any, Any]):
    """An array whose first dimension is that of a batch already; `batch` puts such one behind the other.

    Example: `BatchedNdArray(np.zeros((2, 4)))`
    """

    def __new__(cls, input_array: Any) -> BatchedNdArray:
        """Return the array as one of these."""
        return np.asarray(input_array).view(cls)


def batch(
    list_of_structs: Sequence[Any], *, individual_items_already_have_batch_dim: bool | str = False
) -> Any:
    """Return arrays with a row for each item; items that are batches already are put one behind the other.

    Parameters: `individual_items_already_have_batch_dim` is whether they are, or "auto": those that are
    BatchedNdArrays. Raises ValueError for an empty list.

    Example: `batch([{"x": 1}, {"x": 2}])["x"]  # array([1, 2])`
    """
    if not list_of_structs:
        raise ValueError("there is nothing to put together: the list is empty")
    whole = individual_items_already_have_batch_dim
    if whole == "auto":
        whole = isinstance(optree.tree_leaves(list_of_structs[0])[0], BatchedNdArray)
    if whole:
        return optree.tree_map(lambda *leaves: np.concatenate(leaves), *list_of_structs)
    return batch_items(list_of_structs)


def clip_action(action: Any, action_space: Any) -> Any:
    """Return an action with each number cut at the bounds of its space.

    Example: `clip_action(np.array([3.0]), gymnasium.spaces.Box(-1, 1, (1,)))  # array([1.])`
    """
    return _mapped(
        action,
        action_space,
        lambda part, space: (
            np.clip(part, space.low, space.high) if isinstance(space, gymnasium.spaces.Box) else part
        ),
    )


def unsquash_action(action: Any, action_space_struct: Any) -> Any:
    """Return an action with each number from -1 to 1 moved to where it lies between the bounds of its space.

    Numbers outside are cut. Spaces without bounds are left as they are.

    Example: `unsquash_action(np.array([0.0]), gymnasium.spaces.Box(0, 4, (1,)))  # array([2.])`
    """

    def moved(part: Any, space: Any) -> Any:
        if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded("both"):
            return part
        if np.issubdtype(space.dtype, np.integer):
            wide = space.high.astype(np.float64) - space.low + 1
            placed = np.floor((np.clip(part, -1.0, 1.0) + 1.0) / 2.0 * wide) + space.low
            return np.clip(placed, space.low, space.high).astype(space.dtype)
        placed = space.low + (np.clip(part, -1.0, 1.0) + 1.0) / 2.0 * (space.high - space.low)
        return np.clip(placed, space.low, space.high).astype(space.dtype)

    return _mapped(action, action_space_struct, moved)


def normalize_action(action: Any, action_space_struct: Any) -> Any:
    """Return an action with each number moved to where it lies between -1 and 1: the way back of `unsquash_action`.

    Example: `normalize_action(np.array([2.0]), gymnasium.spaces.Box(0, 4, (1,)))  # array([0.])`
    """

    def moved(part: Any, space: Any) -> Any:
        if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded("both"):
            return part
        return ((part - space.low) / (space.high.astype(np.float64) - space.low) * 2.0 - 1.0).astype(
            np.float32
        )

    return _mapped(action, action_space_struct, moved)


def get_base_struct_from_space(space: Any) -> Any:
    """Return a space's parts, in its form: dictionaries and tuples of spaces that have no parts.

    Example: `get_base_struct_from_space(gymnasium.spaces.Tuple([Discrete(2)]))  # (Discrete(2),)`
    """
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: get_base_struct_from_space(each) for name, each in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(get_base_struct_from_space(each) for each in space.spaces)
    return space


def flatten_space(space: Any) -> list[Any]:
    """Return the parts of a space that have no parts, in order.

    Example: `flatten_space(gymnasium.spaces.Tuple([Discrete(2), Discrete(3)]))  # 2 spaces`
    """
    return list(optree.tree_leaves(get_base_struct_from_space(space)))


def is_composite_space(space: Any) -> bool:
    """Return whether a space has parts, or what it was made flat of had.

    Example: `is_composite_space(gymnasium.spaces.Discrete(2))  # False`
    """
    return isinstance(get_original_space(space), (gymnasium.spaces.Dict, gymnasium.spaces.Tuple))


def get_original_space(space: Any) -> Any:
    """Return what a space was made flat of (its `original_space`), or the space itself.

    Example: `get_original_space(space)`
    """
    return getattr(space, "original_space", space)


def flatten_to_single_ndarray(input_: Any) -> Any:
    """Return all numbers of a value in one array of one dimension.

    Example: `flatten_to_single_ndarray({"a": 1.0, "b": np.zeros(2)})  # array([1., 0., 0.])`
    """
    leaves = optree.tree_leaves(input_)
    return np.concatenate([np.asarray(each).reshape(-1) for each in leaves])


def convert_element_to_space_type(element: Any, sampled_element: Any) -> Any:
    """Return a value with the types of one that was drawn of its space.

    Example: `convert_element_to_space_type([1.0, 2.0], space.sample())`
    """
    if isinstance(sampled_element, dict):
        return {
            name: convert_element_to_space_type(element[name], each) for name, each in sampled_element.items()
        }
    if isinstance(sampled_element, tuple):
        return tuple(
            convert_element_to_space_type(part, each)
            for part, each in zip(element, sampled_element, strict=True)
        )
    if isinstance(sampled_element, np.ndarray):
        return np.asarray(element, dtype=sampled_element.dtype)
    return type(sampled_element)(element)


def get_dummy_batch_for_space(
    space: gymnasium.Space[Any],
    batch_size: int = 32,
    *,
    fill_value: float | str = 0.0,
    time_size: int | None = None,
    time_major: bool = False,
    one_hot_discrete: bool = False,
) -> Any:
    """Return a made-up batch of a space's values.

    Parameters: `fill_value` is a number, or "random"; with `time_size` there is a second dimension of steps, the first
    one if `time_major`; `batch_size` 0 leaves that dimension out; with `one_hot_discrete` choices are rows.

    Example: `get_dummy_batch_for_space(gymnasium.spaces.Box(-1, 1, (3,)), 2).shape  # (2, 3)`
    """
    if isinstance(space, gymnasium.spaces.Dict):
        return {
            name: get_dummy_batch_for_space(
                each,
                batch_size,
                fill_value=fill_value,
                time_size=time_size,
                time_major=time_major,
                one_hot_discrete=one_hot_discrete,
            )
            for name, each in space.spaces.items()
        }
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(
            get_dummy_batch_for_space(
                each,
                batch_size,
                fill_value=fill_value,
                time_size=time_size,
                time_major=time_major,
                one_hot_discrete=one_hot_discrete,
            )
            for each in space.spaces
        )
    dimensions = [batch_size] if batch_size else []
    if time_size is not None:
        dimensions = [time_size, *dimensions] if time_major else [*dimensions, time_size]
    count = int(np.prod(dimensions)) if dimensions else 1
    drawn = [space.sample() for _ in range(count)]
    if one_hot_discrete:
        drawn = [
            flat_observation(space, each) if isinstance(space, gymnasium.spaces.Discrete) else each
            for each in drawn
        ]
    rows = np.stack([np.asarray(each) for each in drawn])
    rows = rows.reshape(*dimensions, *rows.shape[1:])
    return rows if fill_value == "random" else np.full_like(rows, fill_value)


def _mapped(value: Any, space: Any, function: Any) -> Any:
    if isinstance(space, (gymnasium.spaces.Dict, dict)):
        parts = space.spaces if isinstance(space, gymnasium.spaces.Dict) else space
        return {name: _mapped(value[name], each, function) for name, each in parts.items()}
    if isinstance(space, (gymnasium.spaces.Tuple, tuple, list)):
        listed = space.spaces if isinstance(space, gymnasium.spaces.Tuple) else space
        return tuple(_mapped(part, each, function) for part, each in zip(value, listed, strict=True))
    return function(value, space)
