"""What pieces made of observations, put into the episodes."""

from __future__ import annotations

from typing import Any

from shoal.rllib.connectors.connector_v2 import ConnectorV2
from shoal.rllib.core.columns import Columns


class WriteObservationsToEpisodes(ConnectorV2):
    """Puts the batch's observations in the places of the episodes' last ones: learners see what modules saw."""

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
        """Return the batch as it is."""
        for episode, seen in self.single_agent_episode_iterator(
            episodes, zip_with_batch_column=batch[Columns.OBS]
        ):
            episode.observations.space = self.input_observation_space
            episode.set_observations(new_data=seen, at_indices=-1)
        return batch
