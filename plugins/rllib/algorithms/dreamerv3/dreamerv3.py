"""DreamerV3: a model of the environment with latent choices, and a policy that is learned in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.rllib.algorithms.dreamerv3.config import SIZES
from shoal.rllib.algorithms.dreamerv3.loss import actor_loss, critic_loss, expected, world_loss
from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.optimizers import adam, follow, step
from shoal.rllib.sampling.transitions import Actions
from shoal.rllib.tensors.torch_tensors import symlog
from shoal.rllib.world_models.algorithm import WorldModelAlgorithm
from shoal.rllib.world_models.heads import BoundedNormalHead, ChoiceHead, Head
from shoal.rllib.world_models.imagination import imagined
from shoal.rllib.world_models.latents import CategoricalLatents
from shoal.rllib.world_models.state_space import StateSpace, perceptron
from shoal.rllib.world_models.symlog import TwoHot

_WORLD = ("encoder", "space", "decoder", "reward", "going")


class DreamerV3(WorldModelAlgorithm):
    """Mastering diverse domains through world models (Hafner et al., 2023).

    Example: `DreamerV3Config().environment("CartPole-v1").training(model_size="nano").build().train()`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        world = [each for name in _WORLD for each in self.module[name].parameters()]
        eps = config.adam_epsilon
        self._optimizers = {
            "world_model": adam(world, config.world_model_lr, eps),
            "actor": adam(self.module["actor"].parameters(), config.actor_lr, eps),
            "critic": adam(self.module["critic"].parameters(), config.critic_lr, eps),
        }
        self._range: float | None = None  # of returns, from their 5th to their 95th part in a hundred

    def make_head(self, actions: Actions) -> Head:
        """Return how actions are drawn."""
        return ChoiceHead(actions.size) if actions.discrete else BoundedNormalHead(actions.size)

    def scaled(self) -> Any:
        """Return the function that observations go through."""
        return symlog if self.config.symlog_obs else torch.as_tensor

    def make_module(self) -> Any:
        """Return the model, the policy, the values, and a slow copy of them."""
        size, numbers = SIZES[self.config.model_size], size_of_observation(self.observation_space)
        space = StateSpace(
            CategoricalLatents(size.latents, size.latents),
            size.units,
            self.head.size,
            size.recurrent,
            size.units,
            norm=True,
        )

        def layers(inputs: int, outputs: int, last: float = 1.0) -> nn.Sequential:
            return perceptron(inputs, outputs, size.units, size.layers, norm=True, last=last)

        bins = TwoHot().bins
        made = nn.ModuleDict(
            {
                "encoder": layers(numbers, size.units),
                "space": space,
                "decoder": layers(space.size, numbers),
                "reward": layers(space.size, bins, 0.0),
                "going": layers(space.size, 1),
                "actor": layers(space.size, self.head.inputs, 0.01),
                "critic": layers(space.size, bins, 0.0),
                "critic_target": layers(space.size, bins, 0.0),
            }
        )
        made["critic_target"].load_state_dict(made["critic"].state_dict())
        return made

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make a step of the model, and in what it imagines one of the policy and one of the values."""
        config, module = self.config, self.module
        loss, states, told = world_loss(
            module,
            batch,
            self.scaled(),
            free=config.free_nats,
            dynamics=config.dynamics_scale,
            representation=config.representation_scale,
        )
        step(self._optimizers["world_model"], loss, config.world_model_grad_clip_by_global_norm)
        begun = states.detach().flatten(0, 1)
        states, actions = imagined(module, self.head, begun, config.horizon_H, through=False)
        alive = 1 - batch["terminated"].flatten()
        returns, values, weights = expected(module, states, alive, config.gamma, config.gae_lambda)
        if config.train_actor:
            advantages = (returns - values) / max(1.0, self._moved_range(returns))
            loss, entropy = actor_loss(
                module, self.head, states[:-1], actions, advantages, weights, config.entropy_scale
            )
            step(self._optimizers["actor"], loss, config.actor_grad_clip_by_global_norm)
            told |= {"ACTOR_L_total": loss.detach(), "ACTOR_action_entropy": entropy}
        if config.train_critic:
            loss = critic_loss(module, states[:-1], returns, weights)
            step(self._optimizers["critic"], loss, config.critic_grad_clip_by_global_norm)
            told["CRITIC_L_total"] = loss.detach()
        return {**told, "VALUE_TARGETS_mean": returns.mean()}, torch.zeros(len(begun))

    def _moved_range(self, returns: Any) -> float:
        """Return the smoothed range of returns (equation 13)."""
        low, high = torch.quantile(
            returns.flatten(), torch.tensor([0.05, 0.95], device=returns.device)
        ).tolist()
        decay = self.config.return_normalization_decay
        before = high - low if self._range is None else self._range
        self._range = decay * before + (1 - decay) * (high - low)
        return self._range

    def follow(self) -> None:
        """Move the critic's slow copy a little."""
        follow(self.module["critic_target"], self.module["critic"], self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers."""
        return dict(self._optimizers)

    def learner_state(self) -> dict[str, Any]:
        """Return what else a checkpoint must have: the range of returns too."""
        return {**super().learner_state(), "range": self._range}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from it."""
        super().set_learner_state(state)
        self._range = state["range"]
