"""Dreamer: a model with normal latent states, and a policy that is learned through it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.errors import ConfigError
from shoal.rllib.algorithms.dreamer.loss import critic_loss, expected, world_loss
from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.optimizers import adam, step
from shoal.rllib.sampling.transitions import Actions
from shoal.rllib.world_models.algorithm import WorldModelAlgorithm
from shoal.rllib.world_models.heads import Head, SquashedHead
from shoal.rllib.world_models.imagination import imagined
from shoal.rllib.world_models.latents import NormalLatents
from shoal.rllib.world_models.state_space import StateSpace, perceptron

_WORLD = ("encoder", "space", "decoder", "reward", "going")


class Dreamer(WorldModelAlgorithm):
    """Dream to control (Hafner et al., 2020).

    Example: `DreamerConfig().environment("Pendulum-v1").build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        world = [each for name in _WORLD for each in self.module[name].parameters()]
        eps = config.adam_epsilon
        self._optimizers = {
            "model": adam(world, config.td_model_learning_rate, eps),
            "actor": adam(self.module["actor"].parameters(), config.actor_learning_rate, eps),
            "critic": adam(self.module["critic"].parameters(), config.critic_learning_rate, eps),
        }

    def make_head(self, actions: Actions) -> Head:
        """Return how actions are drawn. Raises ConfigError for choices: gradients go through actions."""
        if actions.discrete:
            raise ConfigError(
                f"Dreamer takes actions of Box, not of {self.action_space}; DreamerV3 takes both"
            )
        return SquashedHead(actions.size, self.config.dreamer_model["action_init_std"])

    def scaled(self) -> Any:
        """Return the function that observations go through: none."""
        return torch.as_tensor

    def noise(self) -> float:
        """Return the spread of noise on actions while it plays."""
        return float(self.config.explore_noise)

    def make_module(self) -> Any:
        """Return the model, the policy and the values."""
        model, numbers = self.config.dreamer_model, size_of_observation(self.observation_space)
        hidden = model["hidden_size"]
        space = StateSpace(
            NormalLatents(model["stoch_size"]),
            hidden,
            self.head.size,
            model["deter_size"],
            hidden,
            norm=False,
        )

        def layers(inputs: int, outputs: int, count: int, last: float = 1.0) -> nn.Sequential:
            return perceptron(inputs, outputs, hidden, count, norm=False, last=last)

        return nn.ModuleDict(
            {
                "encoder": layers(numbers, hidden, 2),
                "space": space,
                "decoder": layers(space.size, numbers, 2),
                "reward": layers(space.size, 1, 2),
                "going": layers(space.size, 1, 2),
                "actor": layers(space.size, self.head.inputs, 3, 0.1),
                "critic": layers(space.size, 1, 3),
            }
        )

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make a step of the model, one of the policy through what the model imagines, and one of the values."""
        config, module = self.config, self.module
        loss, states, told = world_loss(module, batch, free=config.free_nats, weight=config.kl_coeff)
        step(self._optimizers["model"], loss, config.grad_clip)
        fixed = [module[name] for name in (*_WORLD, "critic")]
        for each in fixed:
            each.requires_grad_(False)
        begun = states.detach().flatten(0, 1)
        states, _ = imagined(module, self.head, begun, config.imagine_horizon, through=True)
        alive = 1 - batch["terminated"].flatten()
        returns, weights = expected(module, states, alive, config.gamma, config.lambda_)
        policy_loss = -(weights * returns).mean()
        step(self._optimizers["actor"], policy_loss, config.grad_clip)
        for each in fixed:
            each.requires_grad_(True)
        value_loss = critic_loss(module, states[:-1].detach(), returns.detach(), weights)
        step(self._optimizers["critic"], value_loss, config.grad_clip)
        told |= {"actor_loss": policy_loss.detach(), "critic_loss": value_loss.detach()}
        return told, torch.zeros(len(begun))

    def follow(self) -> None:
        """Do nothing: there is no target."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers."""
        return dict(self._optimizers)
