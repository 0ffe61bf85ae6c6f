"""Actions: drawn of distributions, and moved into the space of the environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.connectors.connector_v2 import ConnectorV2
from shoal.rllib.core.columns import Columns
from shoal.rllib.core.rl_module.rl_module import MultiRLModule
from shoal.rllib.spaces.space_values import clip_action, unsquash_action


class GetActions(ConnectorV2):
    """Draws actions of the distributions that the module gave, or takes the most likely ones if it is not to explore.

    Adds the logarithms of their probabilities. A module that gave actions itself is left in peace.
    """

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
        """Return the batch with actions."""
        if isinstance(rl_module, MultiRLModule):
            for name, columns in batch.items():
                self._act(rl_module[name], columns, explore)
        else:
            self._act(rl_module, batch, explore)
        return batch

    def _act(self, module: Any, columns: dict[str, Any], explore: bool | None) -> None:
        if Columns.ACTIONS in columns:
            return
        if Columns.ACTION_DIST_INPUTS not in columns:
            raise KeyError(
                f"{type(module).__name__} gave {', '.join(columns) or 'nothing'}: it must give "
                f"{Columns.ACTIONS} or {Columns.ACTION_DIST_INPUTS}"
            )
        explores = explore is not False
        kind = (
            module.get_exploration_action_dist_cls() if explores else module.get_inference_action_dist_cls()
        )
        distribution = kind.from_logits(columns[Columns.ACTION_DIST_INPUTS])
        if explores:
            columns[Columns.ACTIONS] = distribution.sample()
            columns[Columns.ACTION_LOGP] = distribution.logp(columns[Columns.ACTIONS])
        else:
            columns[Columns.ACTIONS] = distribution.to_deterministic().sample()


class NormalizeAndClipActions(ConnectorV2):
    """Adds actions as the environment wants them: from -1 to 1 moved into the space's bounds, or cut at them.

    Parameters: `normalize_actions` for modules whose actions lie between -1 and 1; else `clip_actions` cuts. What
    learners see is what the module gave.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        normalize_actions: bool = False,
        clip_actions: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self.normalize_actions, self.clip_actions = normalize_actions, clip_actions

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
        """Return the batch, with the column `actions_for_env` if anything is to be done."""
        if not self.normalize_actions and not self.clip_actions:
            return batch
        changed: dict[Any, list[Any]] = {}
        for key, items in batch[Columns.ACTIONS].items():
            space = self.input_action_space
            if len(key) == 3:
                space = space.spaces[key[1]]
            change = unsquash_action if self.normalize_actions else clip_action
            changed[key] = [change(each, space) for each in items]
        batch[Columns.ACTIONS_FOR_ENV] = changed
        return batch


def in_space(action: Any, space: gymnasium.Space[Any]) -> Any:
    """Return an action with the types and the shapes of its space.

    Example: `in_space(np.int64(1), gymnasium.spaces.Discrete(2, start=1))  # 2`
    """
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: in_space(action[name], each) for name, each in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(in_space(part, each) for part, each in zip(action, space.spaces, strict=True))
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(action) + int(space.start)
    return np.asarray(action, space.dtype).reshape(space.shape)
