"""Episodes with one step more than was played, and back again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import optree

from shoal.rllib.env.infinite_lookback_buffer import InfiniteLookbackBuffer


def add_one_ts_to_episodes_and_truncate(episodes: Iterable[Any]) -> list[bool]:
    """Add to each episode a step that repeats the last one, so that there is a row for its last observation.

    Return which episodes were cut short before; all are now.

    Example: `cut = add_one_ts_to_episodes_and_truncate(episodes)`
    """
    before = []
    for episode in episodes:
        before.append(episode.is_truncated)
        for buffer in (episode.observations, episode.infos):
            buffer.append(buffer.get(-1))
        for buffer in (episode.actions, episode.rewards, *episode.extra_model_outputs.values()):
            if buffer.len_incl_lookback():
                buffer.append(buffer.get(-1, neg_index_as_lookback=len(buffer) == 0))
        episode.t += 1
        episode.is_truncated = True
    return before


def remove_last_ts_from_episodes_and_restore_truncateds(
    episodes: Iterable[Any], orig_truncateds: Sequence[bool]
) -> None:
    """Take the step away that `add_one_ts_to_episodes_and_truncate` added, which returned `orig_truncateds`.

    Example: `remove_last_ts_from_episodes_and_restore_truncateds(episodes, cut)`
    """
    for episode, cut in zip(episodes, orig_truncateds, strict=True):
        buffers: list[InfiniteLookbackBuffer] = [
            episode.observations,
            episode.infos,
            episode.actions,
            episode.rewards,
            *episode.extra_model_outputs.values(),
        ]
        for buffer in buffers:
            buffer.pop(-1)
        episode.t -= 1
        episode.is_truncated = cut


def remove_last_ts_from_data(episode_lens: Sequence[int], *data: Any) -> tuple[Any, ...]:
    """Return arrays without the last row of each episode, whose rows are one behind the other.

    Example: `remove_last_ts_from_data([2, 3], np.arange(5))  # (array([0, 2, 3]),)`
    """
    kept: list[int] = []
    start = 0
    for length in episode_lens:
        kept.extend(range(start, start + length - 1))
        start += length
    return tuple(optree.tree_map(lambda rows: rows[kept], each) for each in data)
