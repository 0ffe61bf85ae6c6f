"""Observations of any space as flat arrays."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.connectors.connector_v2 import ConnectorV2
from shoal.rllib.core.columns import Columns
from shoal.rllib.environments import flat_observation, size_of_observation


class FlattenObservations(ConnectorV2):
    """Makes each observation a flat array: choices as zeros and a one, parts of Dict and Tuple one behind the other.

    Parameters: `multi_agent` for spaces by agent, of which `agent_ids` (None: all) are flattened.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        multi_agent: bool = False,
        agent_ids: Collection[Any] | None = None,
        as_learner_connector: bool = False,
        **kwargs: Any,
    ) -> None:
        self._several, self._agents = multi_agent, agent_ids
        self._learns = as_learner_connector
        super().__init__(input_observation_space, input_action_space, **kwargs)

    def recompute_output_observation_space(
        self, input_observation_space: Any, input_action_space: Any
    ) -> Any:
        """Return a Box of the flat arrays, or a Dict of them by agent."""
        if not self._several:
            return _flat(input_observation_space)
        return gymnasium.spaces.Dict(
            {
                agent: _flat(space) if self._takes(agent) else space
                for agent, space in input_observation_space.spaces.items()
            }
        )

    def __call__(
        self,
        *,
        rl_module: Any = None,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch with the column of observations."""
        for episode in self.single_agent_episode_iterator(episodes, not self._learns):
            space = self.input_observation_space
            if self._several:
                space = space.spaces[episode.agent_id]
            flat = self._takes(episode.agent_id)
            places = range(len(episode)) if self._learns else [-1]
            for place in places:
                seen = episode.get_observations(place)
                self.add_batch_item(
                    batch, Columns.OBS, flat_observation(space, seen) if flat else seen, episode
                )
        return batch

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a piece like this one is made with."""
        own = {
            "multi_agent": self._several,
            "agent_ids": self._agents,
            "as_learner_connector": self._learns,
        }
        return (), {**super().get_ctor_args_and_kwargs()[1], **own}

    def _takes(self, agent: Any) -> bool:
        return not self._several or self._agents is None or agent in self._agents


def _flat(space: Any) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(-np.inf, np.inf, (size_of_observation(space),), np.float32)
