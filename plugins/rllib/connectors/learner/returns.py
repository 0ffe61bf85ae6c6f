"""What is learned from rewards: returns, advantages, and the step behind the last that values are needed of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from shoal.rllib.connectors.connector_v2 import ConnectorV2
from shoal.rllib.core.columns import Columns
from shoal.rllib.core.rl_module.apis import ValueFunctionAPI
from shoal.rllib.core.rl_module.rl_module import MultiRLModule
from shoal.rllib.postprocessing.episodes import add_one_ts_to_episodes_and_truncate
from shoal.rllib.postprocessing.value_predictions import compute_value_targets


class AddOneTsToEpisodesAndTruncate(ConnectorV2):
    """Adds to each episode a step that is not learned from, so that there is a value of what came of the last one.

    `Columns.LOSS_MASK` says which steps are learned from.
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
        """Return the batch with the mask."""
        for number, episode in enumerate(
            self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False)
        ):
            # A copy, as the runner's episode goes on: it is not to see the step.
            shared = (shared_data if shared_data is not None else {}).setdefault("ends", {})
            shared[number] = (episode.is_terminated, len(episode))
            add_one_ts_to_episodes_and_truncate([episode])
            mask = [True] * (len(episode) - 1) + [False]
            self.add_n_batch_items(batch, Columns.LOSS_MASK, mask, len(mask), episode)
            ends = [False] * (len(episode) - 2) + [shared[number][0]] * (len(episode) > 1) + [False]
            self.add_n_batch_items(batch, Columns.TERMINATEDS, ends, len(ends), episode)
            cut = [False] * (len(episode) - 1) + [True]
            self.add_n_batch_items(batch, Columns.TRUNCATEDS, cut, len(cut), episode)
        return batch


class ComputeReturnsToGo(ConnectorV2):
    """Adds the discounted sums of the rewards from each step to the episode's end, or the piece's.

    Parameters: `gamma` discounts.
    """

    def __init__(
        self, input_observation_space: Any = None, input_action_space: Any = None, *, gamma: float
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self.gamma = gamma

    def __call__(
        self, *, rl_module: Any = None, episodes: list[Any], batch: dict[str, Any], **kwargs: Any
    ) -> Any:
        """Return the batch with the column."""
        for episode in self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False):
            sums = np.zeros(len(episode), np.float32)
            behind = 0.0
            for step in reversed(range(len(episode))):
                behind = float(episode.get_rewards(step)) + self.gamma * behind
                sums[step] = behind
            self.add_n_batch_items(batch, Columns.RETURNS_TO_GO, list(sums), len(sums), episode)
        return batch


class GeneralAdvantageEstimation(ConnectorV2):
    """Adds advantages and targets of values (Schulman et al., 2016), with values as the module tells them now.

    Needs the step that AddOneTsToEpisodesAndTruncate adds, and must be behind the piece that makes tensors. Modules
    without ValueFunctionAPI are left out. Advantages are scaled to a mean of 0 and a spread of 1.

    Parameters: `gamma` discounts rewards, `lambda_` what is further away (0: one step, 1: all).
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        gamma: float,
        lambda_: float,
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self.gamma, self.lambda_ = gamma, lambda_

    def __call__(self, *, rl_module: Any, episodes: list[Any], batch: dict[str, Any], **kwargs: Any) -> Any:
        """Return the batch with the columns."""
        several = isinstance(rl_module, MultiRLModule)
        for name, module in rl_module.items() if several else [(None, rl_module)]:
            columns = batch.get(str(name), {}) if several else batch
            if columns and isinstance(module.unwrapped(), ValueFunctionAPI):
                self._add(module.unwrapped(), columns)
        return batch

    def _add(self, module: Any, columns: dict[str, Any]) -> None:
        with torch.no_grad():
            values = module.compute_values(columns)
        device = values.device
        shape = values.shape
        real = np.ones(shape, dtype=bool)
        lengths = columns.get(Columns.SEQ_LENS)
        if lengths is not None and values.dim() > 1:
            real = np.arange(shape[1])[None, :] < lengths.cpu().numpy()[:, None]

        def flat(column: str) -> Any:
            return columns[column].cpu().numpy()[real]

        targets = compute_value_targets(
            values=values.cpu().numpy()[real],
            rewards=flat(Columns.REWARDS),
            terminateds=flat(Columns.TERMINATEDS),
            truncateds=flat(Columns.TRUNCATEDS),
            gamma=self.gamma,
            lambda_=self.lambda_,
        )
        advantages = targets - values.cpu().numpy()[real]
        mask = (
            flat(Columns.LOSS_MASK).astype(bool)
            if Columns.LOSS_MASK in columns
            else np.ones_like(advantages, bool)
        )
        learned = advantages[mask]
        if len(learned):
            advantages = (advantages - learned.mean()) / max(1e-4, float(learned.std()))
        for name, numbers in ((Columns.ADVANTAGES, advantages), (Columns.VALUE_TARGETS, targets)):
            whole = np.zeros(shape, np.float32)
            whole[real] = numbers
            columns[name] = torch.from_numpy(whole).to(device)
