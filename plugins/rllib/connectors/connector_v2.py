"""A piece of what lies between environments, modules and learners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import gymnasium

from shoal.errors import ConfigError
from shoal.rllib.checkpoints import Checkpointable
from shoal.rllib.env.single_agent_episode import SingleAgentEpisode
from shoal.rllib.env.structures import unbatch


class ConnectorV2(Checkpointable, ABC):
    """One step on the way from episodes to a batch, or from what a module gave to actions.

    Override `__call__`: it changes the batch or the episodes, and returns the batch. Until items are put together, a
    batch has for each column a dictionary from whom items are of, (episode,) or (episode, agent, module), to a list of
    them. If the spaces change on the way, override `recompute_output_observation_space` or `…_action_space`.

    Parameters: the spaces of what comes in; None: they are told later.

    Example:
        class Doubles(ConnectorV2):
            def __call__(self, *, batch, episodes, **more):
                for episode in self.single_agent_episode_iterator(episodes):
                    episode.set_observations(new_data=2 * episode.get_observations(-1), at_indices=-1)
                return batch
        config.env_runners(env_to_module_connector=lambda env, spaces, device: Doubles())
    """

    def __init__(
        self,
        input_observation_space: gymnasium.Space[Any] | None = None,
        input_action_space: gymnasium.Space[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise ConfigError(f"{type(self).__name__} takes no {', '.join(kwargs)}")
        self._input_observation_space = input_observation_space
        self._input_action_space = input_action_space

    @abstractmethod
    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        metrics: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with what this piece does to it.

        Parameters: `rl_module` plays or learns; `episodes` are pieces as they are now; `explore` tells whether to play
        or to be at best; `shared_data` goes through all pieces; `metrics` is the logger, if there is one.
        """

    def recompute_output_observation_space(
        self, input_observation_space: Any, input_action_space: Any
    ) -> Any:
        """Return the space of observations behind this piece."""
        return input_observation_space

    def recompute_output_action_space(self, input_observation_space: Any, input_action_space: Any) -> Any:
        """Return the space of actions behind this piece."""
        return input_action_space

    @property
    def input_observation_space(self) -> Any:
        """The space of observations that come in."""
        return self._input_observation_space

    @input_observation_space.setter
    def input_observation_space(self, space: Any) -> None:
        self._input_observation_space = space

    @property
    def input_action_space(self) -> Any:
        """The space of actions that come in."""
        return self._input_action_space

    @input_action_space.setter
    def input_action_space(self, space: Any) -> None:
        self._input_action_space = space

    @property
    def observation_space(self) -> Any:
        """The space of observations behind this piece."""
        if self.input_observation_space is None:
            return None
        return self.recompute_output_observation_space(self.input_observation_space, self.input_action_space)

    @property
    def action_space(self) -> Any:
        """The space of actions behind this piece."""
        if self.input_action_space is None:
            return None
        return self.recompute_output_action_space(self.input_observation_space, self.input_action_space)

    @staticmethod
    def single_agent_episode_iterator(
        episodes: Sequence[Any],
        agents_that_stepped_only: bool = True,
        zip_with_batch_column: Mapping[tuple[Any, ...], Sequence[Any]] | None = None,
    ) -> Iterator[Any]:
        """Yield each agent's episode of episodes with one or with several agents.

        With `agents_that_stepped_only` those of agents that had no part in the last step are left out. With a column
        the episode and its item of the column are yielded.
        """
        taken: dict[tuple[Any, ...], int] = {}
        for episode in episodes:
            if isinstance(episode, SingleAgentEpisode):
                found = [episode]
            else:
                agents = episode.get_agents_that_stepped() if agents_that_stepped_only else episode.agent_ids
                found = [episode.agent_episodes[agent] for agent in agents]
            for each in found:
                if zip_with_batch_column is None:
                    yield each
                    continue
                key = key_of(each)
                number = taken[key] = taken.get(key, -1) + 1
                yield each, zip_with_batch_column[key][number]

    @staticmethod
    def add_batch_item(
        batch: dict[str, Any], column: str, item_to_add: Any, single_agent_episode: Any = None
    ) -> None:
        """Add one item of an episode to a column."""
        ConnectorV2.add_n_batch_items(batch, column, [item_to_add], 1, single_agent_episode)

    @staticmethod
    def add_n_batch_items(
        batch: dict[str, Any],
        column: str,
        items_to_add: Any,
        num_items: int,
        single_agent_episode: Any = None,
    ) -> None:
        """Add items of an episode to a column: a list of them, or arrays with a row for each.

        Raises ValueError if there are not `num_items`.
        """
        items = (
            items_to_add if isinstance(items_to_add, list) else (unbatch(items_to_add) if num_items else [])
        )
        if len(items) != num_items:
            raise ValueError(f"{len(items)} items of the column {column!r}, and num_items={num_items}")
        key = key_of(single_agent_episode)
        batch.setdefault(column, {}).setdefault(key, []).extend(items)

    @staticmethod
    def foreach_batch_item_change_in_place(
        batch: dict[str, Any], column: str | Sequence[str], func: Callable[..., Any]
    ) -> None:
        """Put in the place of each item what a function of (item, episode, agent, module) gives.

        With several columns it is given, and returns, a tuple of their items. Raises KeyError for unknown columns.
        """
        columns = [column] if isinstance(column, str) else list(column)
        for name in columns:
            if name not in batch:
                raise KeyError(f"there is no column {name!r}; there are {', '.join(batch)}")
        for key, items in batch[columns[0]].items():
            whose = (*key, *(None,) * (3 - len(key))) if key else (None, None, None)
            for number in range(len(items)):
                given = tuple(batch[name][key][number] for name in columns)
                got = func(given[0] if isinstance(column, str) else given, *whose)
                for name, value in zip(columns, (got,) if isinstance(column, str) else got, strict=True):
                    batch[name][key][number] = value

    @staticmethod
    def switch_batch_from_column_to_module_ids(batch: dict[str, Any]) -> dict[str, Any]:
        """Return columns by module of what is modules by column.

        Example: `{"obs": {"a": 1}}` becomes `{"a": {"obs": 1}}`.
        """
        made: dict[str, Any] = {}
        for column, by_module in batch.items():
            for module, values in by_module.items():
                made.setdefault(module, {})[column] = values
        return made

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return its state; most pieces have none."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take a state."""

    def reset_state(self) -> None:
        """Forget the state."""

    @staticmethod
    def merge_states(states: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one state of those that runners' pieces have; pieces with a state override it."""
        return {}

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a piece like this one is made with."""
        return (), {
            "input_observation_space": self.input_observation_space,
            "input_action_space": self.input_action_space,
        }

    def __str__(self) -> str:
        return type(self).__name__


def key_of(episode: Any) -> tuple[Any, ...]:
    """Return whom items are of: (episode,) of one agent, or (episode, agent, module) of one of several.

    Example: `key_of(SingleAgentEpisode("a"))  # ("a",)`
    """
    if episode is None:
        return ()
    if episode.agent_id is None or episode.multi_agent_episode_id is None:
        return (episode.id_,)
    return episode.multi_agent_episode_id, episode.agent_id, episode.module_id
