"""CQL: the penalty, and SAC for all else."""

from __future__ import annotations

import math
from typing import Any

import torch

from shoal.rllib.algorithms.sac.sac import SAC
from shoal.rllib.modules.continuous import squashed
from shoal.rllib.offline.learner import Offline


class CQL(Offline, SAC):
    """Conservative Q-learning, in its form CQL(H).

    Example: `CQLConfig().environment("Pendulum-v1").offline_data(input_="episodes").build().train()`
    """

    def penalty(self, batch: dict[str, Any], values: Any) -> Any:
        """Return equation 4 of Kumar et al. (2020): the values of all actions, softly the greatest, less those of the
        actions that were taken. Over real actions the sum is an average of drawn ones by their densities."""
        config = self.config
        heat = config.temperature
        if self.actions.discrete:
            everything = self.module["critics"](batch["observations"])
            least = torch.logsumexp(everything / heat, -1) * heat
        else:
            least = torch.logsumexp(self._drawn(batch) / heat, -1) * heat
        return config.min_q_weight * (least - values).mean(1).sum()

    def _drawn(self, batch: dict[str, Any]) -> Any:
        """Values of actions drawn uniformly and by the policy, less the logarithms of their densities."""
        seen, count = batch["observations"], self.config.num_actions
        rows, size = len(seen), self.actions.size
        many = seen.repeat_interleave(count, 0)
        uniform = torch.rand(rows * count, size, device=seen.device) * 2 - 1
        found = [(uniform, torch.full((rows * count,), -size * math.log(2.0), device=seen.device))]
        with torch.no_grad():
            for at in (seen, batch["next_observations"]):
                found.append(squashed(self.module["actor"](at).repeat_interleave(count, 0)))
        parts = []
        for actions, logs in found:
            given = self.module["critics"](torch.cat([many, actions], -1))[..., 0] - logs
            parts.append(given.view(len(given), rows, count))
        # What is summed is the mean over all that were drawn, so that their number does not count.
        return torch.cat(parts, -1) - math.log(3 * count)
