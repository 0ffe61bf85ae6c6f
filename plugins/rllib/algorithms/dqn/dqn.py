"""DQN: values of discrete actions, learned from replay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.errors import ConfigError
from shoal.rllib.algorithms.dqn.loss import dqn_loss
from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy
from shoal.rllib.algorithms.off_policy.schedule import at_step
from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.optimizers import adam, follow, step
from shoal.rllib.modules.q_network import QNetwork, QPolicy, QShape
from shoal.rllib.sampling.transitions import Actions


class DQN(OffPolicy):
    """Deep Q-networks: double, dueling, over several steps, prioritised, distributional and noisy, each by a setting.

    Example: `DQNConfig().environment("CartPole-v1").build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._optimizer = adam(self.module["online"].parameters(), config.lr, config.adam_epsilon)

    def make_module(self) -> Any:
        """Return the network and its target."""
        config = self.config
        self.actions = Actions(self.action_space)
        if not self.actions.discrete:
            raise ConfigError(f"{type(self).__name__} takes actions of Discrete, not of {self.action_space}")
        shape = QShape(
            inputs=size_of_observation(self.observation_space),
            actions=self.actions.size,
            hidden=tuple(config.model["fcnet_hiddens"]),
            activation=config.model["fcnet_activation"],
            heads=tuple(config.hiddens),
            dueling=config.dueling,
            atoms=config.num_atoms,
            lowest=float(config.v_min),
            highest=float(config.v_max),
            sigma0=float(config.sigma0) if config.noisy else 0.0,
        )
        made = nn.ModuleDict({"online": QNetwork(shape), "target": QNetwork(shape)})
        made["target"].load_state_dict(made["online"].state_dict())
        return made

    def policy(self, warm: bool) -> QPolicy:
        """Return the best action's policy, with noise by `epsilon` or by the network's own."""
        epsilon = at_step(self.config.epsilon, self._steps)
        if self.config.noisy:
            epsilon = 0.0
        return QPolicy(self.module["online"].arrays(), epsilon if warm else 1.0)

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make one step down the loss of a batch."""
        config = self.config
        loss, errors, values = dqn_loss(
            self.module["online"],
            self.module["target"],
            batch,
            double=config.double_q,
            huber=config.td_error_loss_fn == "huber",
        )
        step(self._optimizer, loss, config.grad_clip)
        told = {"total_loss": loss.detach(), "qf_mean": values.mean(), "td_error_mean": errors.mean()}
        return told, errors

    def follow(self) -> None:
        """Move the target to the network."""
        follow(self.module["target"], self.module["online"], self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimiser."""
        return {"online": self._optimizer}
