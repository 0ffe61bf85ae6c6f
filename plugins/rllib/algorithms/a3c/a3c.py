"""A3C: gradients of runners are applied in the order they come."""

from __future__ import annotations

from typing import Any

import attrs
import torch

from shoal.rllib.algorithms.a3c.runner import Graded, GradientRunner
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.array_algorithm import ArrayAlgorithm
from shoal.rllib.modules.optimizers import adam
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.pipeline import Pipeline


class A3C(ArrayAlgorithm):
    """Asynchronous advantage actor-critic (Mnih et al., 2016).

    `learners` tells besides the loss how many updates old the weights were of the last gradient (`staleness`).

    Example: `A3CConfig().environment("CartPole-v1").build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: AlgorithmConfig) -> None:
        super().__init__(config)
        self._optimizer = adam(self.module.parameters(), config.lr)
        self._updates = 0
        length = config.rollout_fragment_length
        steps = 100 if length == "auto" else int(length)
        self._pipeline = Pipeline(self._runners, steps, 1, config.sample_timeout_s)
        self._publish()

    def make_runners(self, make: Any) -> RunnerGroup:
        """Return runners that give gradients."""
        config = self.config
        graded = Graded(
            **attrs.asdict(self._play(make), recurse=False),
            hidden=tuple(config.model["fcnet_hiddens"]),
            activation=config.model["fcnet_activation"],
            shared=config.model["vf_share_layers"],
            value=config.vf_loss_coeff,
            entropy=config.entropy_coeff,
        )
        return RunnerGroup(graded, config, GradientRunner)

    def training_step(self) -> dict[str, Any]:
        """Apply the next gradient."""
        answer, version = self._pipeline.next()
        for weight, gradient in zip(self.module.parameters(), answer["gradients"], strict=True):
            weight.grad = torch.tensor(gradient, device=self.device)
        if self.config.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.grad_clip)
        self._optimizer.step()
        self._episodes.extend(answer["episodes"])
        self._steps += answer["steps"]
        staleness = self._updates - version
        self._updates += 1
        self._publish()
        return {**answer["told"], "num_updates": self._updates, "staleness": staleness}

    def learner_state(self) -> dict[str, Any]:
        """Return the optimiser's state and the number of updates."""
        return {"optimizer": self._optimizer.state_dict(), "updates": self._updates}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._updates = state["updates"]
        self._publish()

    def _publish(self) -> None:
        # Copies: what is published must not change while it is on its way.
        weights = {name: value.cpu().numpy().copy() for name, value in self.module.state_dict().items()}
        self._pipeline.publish({"policy": self.module.arrays(), "weights": weights}, self._updates)
