"""Stretches of steps of one length, padded with zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optree

from shoal.rllib.env.structures import batch, unbatch, zeros_like


def split_and_zero_pad(item_list: Sequence[Any], max_seq_len: int) -> list[Any]:
    """Return stretches of items, as arrays of `max_seq_len` rows; the last one is padded.

    Example: `split_and_zero_pad([1, 2, 3], 2)  # [array([1, 2]), array([3, 0])]`
    """
    return [
        padded(item_list[start : start + max_seq_len], max_seq_len)
        for start in range(0, len(item_list), max_seq_len)
    ]


def split_and_zero_pad_n_episodes(nd_array: Any, episode_lens: Sequence[int], max_seq_len: int) -> list[Any]:
    """Return the stretches of episodes whose rows are one behind the other in an array.

    Example: `split_and_zero_pad_n_episodes(np.arange(5), [2, 3], 2)  # 3 stretches`
    """
    made: list[Any] = []
    start = 0
    for length in episode_lens:
        rows = unbatch(optree.tree_map(lambda a, at=start, n=length: a[at : at + n], nd_array))
        made.extend(split_and_zero_pad(rows, max_seq_len))
        start += length
    return made


def unpad_data_if_necessary(episode_lens: Sequence[int], data: Any) -> Any:
    """Return the rows of episodes one behind the other, of stretches (rows × steps); one dimension stays as it is.

    Example: `unpad_data_if_necessary([3], np.array([[1, 2], [3, 0]]))  # array([1, 2, 3])`
    """
    if np.ndim(data) == 1:
        return data
    size = data.shape[1]
    made = []
    row = 0
    for length in episode_lens:
        stretches = -(-length // size)
        made.append(data[row : row + stretches].reshape(-1, *data.shape[2:])[:length])
        row += stretches
    return np.concatenate(made)


def create_mask_and_seq_lens(episode_len: int, T: int) -> tuple[list[Any], list[int]]:  # noqa: N803
    """Return for the stretches of an episode which of their `T` steps are real, and how many.

    Example: `create_mask_and_seq_lens(3, 2)[1]  # [2, 1]`
    """
    lengths = [min(T, episode_len - start) for start in range(0, episode_len, T)]
    return [np.arange(T) < length for length in lengths], lengths


def padded(items: Sequence[Any], size: int) -> Any:
    """Return items as arrays of `size` rows, the rows behind them zeros.

    Example: `padded([1, 2], 3)  # array([1, 2, 0])`
    """
    return batch([*items, *([zeros_like(items[0])] * (size - len(items)))])
