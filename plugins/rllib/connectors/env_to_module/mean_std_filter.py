"""Observations that are moved and scaled to a mean of 0 and a spread of 1."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.connectors.connector_v2 import ConnectorV2


class MeanStdFilter(ConnectorV2):
    """Takes from observations the mean of all that were seen, and divides them by their spread.

    Means and spreads are kept as they come (Welford, 1962), and runners' are put together (Chan et al., 1979) when an
    algorithm hands weights out.

    Parameters: `de_mean_to_zero` and `de_std_to_one` each say half of what is done; `clip_by_value` bounds what comes
    out (None: not); `update_stats` says whether what is seen counts; `multi_agent` keeps means by agent.

    Example: `config.env_runners(env_to_module_connector=lambda env, spaces, device: MeanStdFilter())`
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        multi_agent: bool = False,
        de_mean_to_zero: bool = True,
        de_std_to_one: bool = True,
        clip_by_value: float | None = 10.0,
        update_stats: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._several = multi_agent
        self._centres, self._scales, self._bound = de_mean_to_zero, de_std_to_one, clip_by_value
        self._counts = update_stats
        self._seen: dict[Any, tuple[int, Any, Any]] = {}  # by agent: count, mean, sum of squared differences

    def recompute_output_observation_space(
        self, input_observation_space: Any, input_action_space: Any
    ) -> Any:
        """Return a Box between the bounds."""
        bound = np.inf if self._bound is None else self._bound

        def like(space: Any) -> Any:
            if not isinstance(space, gymnasium.spaces.Box):
                raise ValueError(
                    f"MeanStdFilter takes observations of a Box, not of {space}: flatten them first"
                )
            return gymnasium.spaces.Box(-bound, bound, space.shape, np.float32)

        if self._several:
            return gymnasium.spaces.Dict(
                {a: like(each) for a, each in input_observation_space.spaces.items()}
            )
        return like(input_observation_space)

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
            agent = episode.agent_id if self._several else None
            seen = np.asarray(episode.get_observations(-1), np.float64)
            if self._counts:
                self._seen[agent] = _merged(self._seen.get(agent), (1, seen, np.zeros_like(seen)))
            episode.observations.space = self.observation_space
            episode.set_observations(new_data=self._changed(agent, seen), at_indices=-1)
        return batch

    def _changed(self, agent: Any, seen: Any) -> Any:
        count, mean, squares = self._seen.get(agent, (0, np.zeros_like(seen), np.zeros_like(seen)))
        if self._centres:
            seen = seen - mean
        if self._scales:
            seen = seen / (np.sqrt(squares / max(1, count - 1)) + 1e-8)
        if self._bound is not None:
            seen = np.clip(seen, -self._bound, self._bound)
        return seen.astype(np.float32)

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return counts, means and sums of squares by agent."""
        return {"seen": dict(self._seen)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them."""
        self._seen = dict(state["seen"])

    def reset_state(self) -> None:
        """Forget them."""
        self._seen = {}

    @staticmethod
    def merge_states(states: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the counts, means and sums of all together."""
        merged: dict[Any, Any] = {}
        for state in states:
            for agent, theirs in state["seen"].items():
                merged[agent] = _merged(merged.get(agent), theirs)
        return {"seen": merged}

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a piece like this one is made with."""
        own = {
            "multi_agent": self._several,
            "de_mean_to_zero": self._centres,
            "de_std_to_one": self._scales,
            "clip_by_value": self._bound,
            "update_stats": self._counts,
        }
        return (), {**super().get_ctor_args_and_kwargs()[1], **own}


def _merged(ours: tuple[int, Any, Any] | None, theirs: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
    if ours is None or not ours[0]:
        return theirs
    count = ours[0] + theirs[0]
    apart = theirs[1] - ours[1]
    mean = ours[1] + apart * theirs[0] / count
    return count, mean, ours[2] + theirs[2] + apart**2 * ours[0] * theirs[0] / count
