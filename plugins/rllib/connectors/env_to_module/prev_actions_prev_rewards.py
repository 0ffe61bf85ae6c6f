"""Observations with what was done and given before."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.connectors.env_to_module.observation_preprocessor import SingleAgentObservationPreprocessor
from shoal.rllib.env.structures import batch, one_hot


class PrevActionsPrevRewards(SingleAgentObservationPreprocessor):
    """Makes each observation a dictionary with the last actions (choices as zeros and a one) and rewards beside it.

    Before the first steps there are zeros. Put FlattenObservations behind it for a network that takes one array.

    Parameters: `n_prev_actions` and `n_prev_rewards` say how many.
    """

    ORIG_OBS_KEY = "_orig_obs"
    PREV_ACTIONS_KEY = "prev_n_actions"
    PREV_REWARDS_KEY = "prev_n_rewards"

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        multi_agent: bool = False,
        n_prev_actions: int = 1,
        n_prev_rewards: int = 1,
        **kwargs: Any,
    ) -> None:
        self._several, self._actions, self._rewards = multi_agent, n_prev_actions, n_prev_rewards
        super().__init__(input_observation_space, input_action_space, **kwargs)

    def recompute_output_observation_space(
        self, input_observation_space: Any, input_action_space: Any
    ) -> Any:
        """Return a Dict of the observation, the actions and the rewards."""
        if self._several:
            return gymnasium.spaces.Dict(
                {
                    agent: self._space(space, input_action_space.spaces[agent])
                    for agent, space in input_observation_space.spaces.items()
                }
            )
        return self._space(input_observation_space, input_action_space)

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
        """Change the last observation of each episode; return the batch."""
        return super().__call__(
            rl_module=rl_module, batch=batch, episodes=episodes, explore=explore, **kwargs
        )

    def preprocess(self, observation: Any, episode: Any) -> Any:
        """Return the observation with what was before it."""
        space = self.input_action_space
        if self._several:
            space = space.spaces[episode.agent_id]
        made = {self.ORIG_OBS_KEY: observation}
        if self._actions:
            before = [
                one_hot(episode.get_actions(-1 - back), space) if back < _there(episode) else _nothing(space)
                for back in reversed(range(self._actions))
            ]
            made[self.PREV_ACTIONS_KEY] = batch(before)
        if self._rewards:
            made[self.PREV_REWARDS_KEY] = np.array(
                [
                    episode.get_rewards(-1 - back) if back < _there(episode) else 0.0
                    for back in reversed(range(self._rewards))
                ],
                np.float32,
            )
        return made

    def _space(self, observations: Any, actions: Any) -> gymnasium.spaces.Dict:
        parts = {self.ORIG_OBS_KEY: observations}
        if self._actions:
            one = _nothing(actions)
            parts[self.PREV_ACTIONS_KEY] = gymnasium.spaces.Box(
                -np.inf, np.inf, (self._actions, *np.shape(one)), np.float32
            )
        if self._rewards:
            parts[self.PREV_REWARDS_KEY] = gymnasium.spaces.Box(-np.inf, np.inf, (self._rewards,), np.float32)
        return gymnasium.spaces.Dict(parts)


def _there(episode: Any) -> int:
    return int(episode.actions.len_incl_lookback())


def _nothing(space: Any) -> Any:
    return np.zeros_like(np.asarray(one_hot(space.sample(), space), np.float32))
