"""Observations with those of the steps before them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.connectors.connector_v2 import ConnectorV2
from shoal.rllib.core.columns import Columns


class FrameStacking(ConnectorV2):
    """Puts the last `num_frames` observations of an array together, in a last dimension; before the first are zeros.

    Episodes hold each observation once. Put the piece where batches to learn from are made too
    (`as_learner_connector`), with the same number.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        num_frames: int = 1,
        multi_agent: bool = False,
        as_learner_connector: bool = False,
        **kwargs: Any,
    ) -> None:
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, not {num_frames}")
        self.num_frames, self._several, self._learns = num_frames, multi_agent, as_learner_connector
        super().__init__(input_observation_space, input_action_space, **kwargs)

    def recompute_output_observation_space(
        self, input_observation_space: Any, input_action_space: Any
    ) -> Any:
        """Return a Box with one dimension more, or a Dict of them by agent."""
        if self._several:
            return gymnasium.spaces.Dict(
                {agent: self._space(space) for agent, space in input_observation_space.spaces.items()}
            )
        return self._space(input_observation_space)

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
            places = range(len(episode)) if self._learns else [len(episode.observations) - 1]
            for place in places:
                frames = episode.observations.get(
                    range(place - self.num_frames + 1, place + 1), neg_index_as_lookback=True, fill=0.0
                )
                self.add_batch_item(batch, Columns.OBS, np.stack(list(frames), axis=-1), episode)
        return batch

    def _space(self, space: Any) -> gymnasium.spaces.Box:
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"FrameStacking takes observations of a Box, not of {space}")
        kind: Any = space.dtype
        low, high = (np.repeat(each[..., None], self.num_frames, axis=-1) for each in (space.low, space.high))
        return gymnasium.spaces.Box(low, high, dtype=kind.type)
