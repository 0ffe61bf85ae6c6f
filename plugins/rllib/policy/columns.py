"""Columns of batches: arrays, tensors, or structures of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import optree
import torch

from shoal.rllib.env.structures import zeros_like


class Packed:
    """A value that is compressed, with zlib."""

    def __init__(self, value: Any) -> None:
        leaves, self._form = optree.tree_flatten(value)
        self._leaves = [
            (zlib.compress(np.ascontiguousarray(leaf).tobytes(), 1), leaf.dtype, leaf.shape)
            for leaf in leaves
        ]

    def unpacked(self) -> Any:
        """Return the value."""
        return optree.tree_unflatten(
            self._form,
            [np.frombuffer(zlib.decompress(raw), kind).reshape(shape) for raw, kind, shape in self._leaves],
        )


def copied(leaf: Any) -> Any:
    """Return an array or a tensor with memory of its own."""
    return leaf.clone() if isinstance(leaf, torch.Tensor) else np.copy(leaf)


def taken(value: Any, number: int) -> Any:
    """Return one row of a column."""
    return value[number] if isinstance(value, list) else optree.tree_map(lambda leaf: leaf[number], value)


def picked(leaf: Any, order: Any) -> Any:
    """Return rows of an array or a tensor by their numbers."""
    return leaf[torch.as_tensor(order)] if isinstance(leaf, torch.Tensor) else leaf[order]


def joined(values: Sequence[Any]) -> Any:
    """Return columns one behind the other."""

    def join(*leaves: Any) -> Any:
        return torch.cat(leaves) if isinstance(leaves[0], torch.Tensor) else np.concatenate(leaves)

    if isinstance(values[0], list):
        return [each for value in values for each in value]
    return optree.tree_map(join, *values)


def cut(lengths: Any, start: int, end: int) -> Any:
    """Return the lengths of stretches of which the rows from `start` to `end` are left."""
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    left = np.minimum(bounds[1:], end) - np.maximum(bounds[:-1], start)
    return left[left > 0]


def padded(leaf: Any, lengths: Any, size: int) -> Any:
    """Return an array whose stretches, as long as `lengths` tell, all have `size` rows: the others are zeros."""
    array = np.asarray(leaf)
    made = np.repeat(zeros_like(array[:1]), len(lengths) * size, axis=0)
    row = 0
    for number, length in enumerate(lengths):
        made[number * size : number * size + int(length)] = array[row : row + int(length)]
        row += int(length)
    return made
