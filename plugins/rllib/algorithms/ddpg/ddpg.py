"""DDPG: a policy that takes one action, moved up the slope of its value; and TD3 by its settings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from shoal.errors import ConfigError
from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy
from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.continuous import Critics, NoisyPolicy, critic_arrays, policy_layers
from shoal.rllib.modules.layers import arrays_of
from shoal.rllib.modules.optimizers import adam, follow, step
from shoal.rllib.sampling.transitions import Actions


class DDPG(OffPolicy):
    """Deep deterministic policy gradients.

    Example: `DDPGConfig().environment("Pendulum-v1").build().train()["episode_reward_mean"]`
    """

    needs_values = False  # whether runners are to have the network of values too

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        given = {"eps": config.adam_epsilon, "weight_decay": config.l2_reg}
        self._optimizers = {
            "actor": adam(self.module["actor"].parameters(), config.rate("actor_lr"), **given),
            "critics": adam(self.module["critics"].parameters(), config.rate("critic_lr"), **given),
        }

    def make_module(self) -> Any:
        """Return the policy, the networks of values, and the targets of both."""
        config = self.config
        self.actions = Actions(self.action_space)
        if self.actions.discrete:
            raise ConfigError(f"{type(self).__name__} takes actions of Box, not of {self.action_space}")
        size, count = size_of_observation(self.observation_space), self.actions.size
        kind, hidden = config.model["fcnet_activation"], config.model["fcnet_hiddens"]
        policy = tuple(config.actor_hiddens or hidden)
        values = (2 if config.twin_q else 1, size + count, 1, tuple(config.critic_hiddens or hidden), kind)
        made = nn.ModuleDict(
            {
                "actor": policy_layers(size, count, policy, kind),
                "actor_target": policy_layers(size, count, policy, kind),
                "critics": Critics(*values),
                "critics_target": Critics(*values),
            }
        )
        for name in ("actor", "critics"):
            made[f"{name}_target"].load_state_dict(made[name].state_dict())
        return made

    def policy(self, warm: bool) -> NoisyPolicy:
        """Return what takes the policy's action with noise."""
        values = critic_arrays(self.module["critics"]) if self.needs_values else None
        return NoisyPolicy(arrays_of(self.module["actor"]), self.config.noise, not warm, values)

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make a step down the loss of the values, and every `policy_delay` batches one of the policy."""
        config, module = self.config, self.module
        values = module["critics"](torch.cat([batch["observations"], batch["actions"]], -1))[..., 0]
        errors = values - self.targets(batch)
        each = (
            functional.huber_loss(errors, torch.zeros_like(errors), reduction="none")
            if config.use_huber
            else errors.square()
        )
        loss = (batch["weights"] * each).mean(1).sum()
        step(self._optimizers["critics"], loss, config.grad_clip)
        told = {"critic_loss": loss.detach(), "qf_mean": values.detach().mean()}
        if self.updates % config.policy_delay == 0:
            seen = batch["observations"]
            module["critics"].requires_grad_(False)
            acts = torch.tanh(module["actor"](seen))
            policy_loss = -module["critics"](torch.cat([seen, acts], -1))[0].mean()
            step(self._optimizers["actor"], policy_loss, config.grad_clip)
            module["critics"].requires_grad_(True)
            told["actor_loss"] = policy_loss.detach()
        return told, errors.detach().abs().mean(0)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def targets(self, batch: dict[str, Any]) -> Any:
        """Return what the values are to be: equations 14 and 15 of Fujimoto et al. (2018), as far as they are set."""
        config, after = self.config, batch["next_observations"]
        acts = torch.tanh(self.module["actor_target"](after))
        if config.smooth_target_policy:
            noise = torch.randn_like(acts) * config.target_noise
            acts = (acts + noise.clamp(-config.target_noise_clip, config.target_noise_clip)).clamp(-1, 1)
        later = self.module["critics_target"](torch.cat([after, acts], -1))[..., 0].min(0).values
        return batch["rewards"] + batch["discounts"] * later

    def follow(self) -> None:
        """Move the targets a little, with the policy as often as it is learned."""
        if (self.updates - 1) % self.config.policy_delay == 0:
            for name in ("actor", "critics"):
                follow(self.module[f"{name}_target"], self.module[name], self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers."""
        return dict(self._optimizers)
