"""Observations that a function changes before a module sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from shoal.rllib.connectors.connector_v2 import ConnectorV2


class ObservationPreprocessor(ConnectorV2, ABC):
    """Changes observations in the episodes, so that learners see them changed as well.

    Override `preprocess`, and `recompute_output_observation_space` if the space is another one.
    """


class SingleAgentObservationPreprocessor(ObservationPreprocessor, ABC):
    """Changes each observation of one agent.

    Example:
        class Halves(SingleAgentObservationPreprocessor):
            def preprocess(self, observation, episode):
                return observation / 2
    """

    @abstractmethod
    def preprocess(self, observation: Any, episode: Any) -> Any:
        """Return an observation as a module is to see it."""

    def __call__(
        self,
        *,
        rl_module: Any = None,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        persistent_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Change the last observation of each episode; return the batch."""
        for episode in self.single_agent_episode_iterator(episodes):
            changed = self.preprocess(episode.get_observations(-1), episode)
            # The space may be another now: what is behind says.
            episode.observations.space = self.observation_space
            episode.set_observations(new_data=changed, at_indices=-1)
        return batch


class MultiAgentObservationPreprocessor(ObservationPreprocessor, ABC):
    """Changes the observations of all agents at once.

    Example:
        class Shares(MultiAgentObservationPreprocessor):
            def preprocess(self, observations, episode):
                return {agent: sum(observations.values()) for agent in observations}
    """

    @abstractmethod
    def preprocess(self, observations: dict[Any, Any], episode: Any) -> dict[Any, Any]:
        """Return observations by agent as modules are to see them, of the same agents."""

    def __call__(
        self,
        *,
        rl_module: Any = None,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        persistent_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Change the last observations of each episode; return the batch."""
        for episode in episodes:
            seen = episode.get_observations(-1)
            changed = self.preprocess(seen, episode)
            if set(changed) != set(seen):
                raise ValueError(
                    f"preprocess gave observations of {set(changed)}, and was given those of {set(seen)}"
                )
            for agent, value in changed.items():
                episode.agent_episodes[agent].set_observations(new_data=value, at_indices=-1)
        return batch
