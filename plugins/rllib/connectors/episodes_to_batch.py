"""From episodes to columns: observations, states, and what is learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree

from shoal.errors import ConfigError
from shoal.rllib.connectors.connector_v2 import ConnectorV2, key_of
from shoal.rllib.core.columns import Columns
from shoal.rllib.core.rl_module.rl_module import MultiRLModule
from shoal.rllib.postprocessing.zero_padding import create_mask_and_seq_lens, split_and_zero_pad

MAX_SEQ_LEN = 20


class AddObservationsFromEpisodesToBatch(ConnectorV2):
    """Adds observations: the last of each episode to act on, or all steps' to learn from (`as_learner_connector`).

    Does nothing if an earlier piece has made the column.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        as_learner_connector: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._learns = as_learner_connector

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with the column."""
        if Columns.OBS in batch:
            return batch
        for episode in self.single_agent_episode_iterator(episodes, not self._learns):
            if self._learns:
                steps = len(episode)
                seen = episode.get_observations(slice(0, steps))
                self.add_n_batch_items(batch, Columns.OBS, seen, steps, episode)
            else:
                self.add_batch_item(batch, Columns.OBS, episode.get_observations(-1), episode)
        return batch


class AddColumnsFromEpisodesToTrainBatch(ConnectorV2):
    """Adds actions, rewards, ends, and what the module gave in playing, for all steps; not what is there already."""

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with the columns."""
        there = set(batch)
        for episode in self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False):
            steps = len(episode)
            columns = episode.get_data_dict()
            names = [Columns.ACTIONS, Columns.REWARDS, Columns.TERMINATEDS, Columns.TRUNCATEDS]
            names += [name for name in episode.extra_model_outputs if name != Columns.STATE_OUT]
            for name in names:
                if name not in there:
                    self.add_n_batch_items(batch, name, columns[name], steps, episode)
        return batch


class AddInfosFromEpisodesToTrainBatch(ConnectorV2):
    """Adds what environments told beside observations, for all steps."""

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with the column."""
        for episode in self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False):
            steps = len(episode)
            self.add_n_batch_items(
                batch, Columns.INFOS, list(episode.get_infos(slice(0, steps))), steps, episode
            )
        return batch


class AddNextObservationsFromEpisodesToTrainBatch(ConnectorV2):
    """Adds what came of each step."""

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with the column."""
        for episode in self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False):
            steps = len(episode)
            seen = episode.get_observations(slice(1, steps + 1))
            self.add_n_batch_items(batch, Columns.NEXT_OBS, seen, steps, episode)
        return batch


class AddTimeDimToBatchAndZeroPad(ConnectorV2):
    """For modules with a state: items become stretches of steps, padded with zeros to one length.

    To act on, a stretch is one step long. To learn from, it is at most `max_seq_len` of the module's `model_config` (20
    unless it says so), `Columns.LOSS_MASK` tells which steps are real and `Columns.SEQ_LENS` how many of each stretch.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        as_learner_connector: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._learns = as_learner_connector

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with stretches; without a module that has a state as it is."""
        if not rl_module.is_stateful():
            return batch
        masks: dict[Any, Any] = {}
        lengths: dict[Any, Any] = {}
        for by_key in batch.values():
            for key, items in by_key.items():
                if not _of_state(rl_module, key):
                    continue
                if not self._learns:
                    by_key[key] = [
                        optree.tree_map(lambda leaf: np.asarray(leaf)[None], each) for each in items
                    ]
                    continue
                size = max_seq_len(rl_module, key)
                if key not in masks:
                    marks, lengths[key] = create_mask_and_seq_lens(len(items), size)
                    given = batch.get(Columns.LOSS_MASK, {}).get(key)
                    if given is not None:
                        marks = split_and_zero_pad(given, size)
                    masks[key] = marks
                by_key[key] = split_and_zero_pad(items, size)
        if masks:
            batch[Columns.LOSS_MASK] = {**batch.get(Columns.LOSS_MASK, {}), **masks}
            batch[Columns.SEQ_LENS] = lengths
        return batch


class AddStatesFromEpisodesToBatch(ConnectorV2):
    """For modules with a state: adds the states that stretches begin with."""

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        as_learner_connector: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._learns = as_learner_connector

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with the column; without a module that has a state as it is."""
        if not rl_module.is_stateful():
            return batch
        for episode in self.single_agent_episode_iterator(episodes, not self._learns):
            key = key_of(episode)
            if not _of_state(rl_module, key):
                continue
            first = _module_of(rl_module, key).get_initial_state()
            first = optree.tree_map(_as_array, first)
            states = episode.extra_model_outputs.get(Columns.STATE_OUT)
            starts = range(0, len(episode), max_seq_len(rl_module, key)) if self._learns else [len(episode)]
            for start in starts:
                known = states is not None and start + states.lookback > 0
                state = states.get(start - 1, neg_index_as_lookback=True) if known else first
                self.add_batch_item(batch, Columns.STATE_IN, state, episode)
        return batch


def max_seq_len(rl_module: Any, key: tuple[Any, ...] = ()) -> int:
    """Return how long a stretch is that a module learns from. Raises ConfigError for one below 1.

    Example: `max_seq_len(module)  # 20`
    """
    model = _module_of(rl_module, key).model_config
    size = (
        model.get("max_seq_len", MAX_SEQ_LEN)
        if isinstance(model, dict)
        else getattr(model, "max_seq_len", MAX_SEQ_LEN)
    )
    if int(size) < 1:
        raise ConfigError(f"max_seq_len must be at least 1, not {size}")
    return int(size)


def _module_of(rl_module: Any, key: tuple[Any, ...]) -> Any:
    if not isinstance(rl_module, MultiRLModule):
        return rl_module
    if len(key) == 3:
        return rl_module[key[2]]
    return next(iter(rl_module.values()))


def _of_state(rl_module: Any, key: tuple[Any, ...]) -> bool:
    return bool(_module_of(rl_module, key).is_stateful())


def _as_array(leaf: Any) -> Any:
    return leaf.detach().cpu().numpy() if hasattr(leaf, "detach") else np.asarray(leaf)
