"""MADDPG: policies that act by themselves, learned with values that see all agents."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.rllib.algorithms.maddpg.loss import actor_loss, critic_loss
from shoal.rllib.algorithms.off_policy.team import TeamOffPolicy
from shoal.rllib.modules.continuous import Critics
from shoal.rllib.modules.optimizers import adam, follow, step
from shoal.rllib.modules.team_actors import TeamActors, TeamActorsPolicy


class MADDPG(TeamOffPolicy):
    """Deep deterministic policy gradients of several agents, with one aim or with several.

    Example: `MADDPGConfig().environment(Landmarks).build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        eps = config.adam_epsilon
        self._optimizers = {
            "actors": adam(self.module["actors"].parameters(), config.rate("actor_lr"), eps),
            "critics": adam(self.module["critics"].parameters(), config.rate("critic_lr"), eps),
        }
        self._sees = self._what_values_see().to(self.device)

    def make_module(self) -> Any:
        """Return the policies, the networks of values, and the targets of both."""
        config, team = self.config, self.team
        kind, hidden = config.model["fcnet_activation"], config.model["fcnet_hiddens"]
        acts = tuple(config.actor_hiddens or hidden)
        inputs = sum(team.sizes) + sum(each.size for each in team.actions)
        values = (len(team.agents), inputs, 1, tuple(config.critic_hiddens or hidden), kind)
        made = nn.ModuleDict(
            {
                "actors": TeamActors(team, acts, kind),
                "actors_target": TeamActors(team, acts, kind),
                "critics": Critics(*values),
                "critics_target": Critics(*values),
            }
        )
        for name in ("actors", "critics"):
            made[f"{name}_target"].load_state_dict(made[name].state_dict())
        return made

    def _what_values_see(self) -> torch.Tensor:
        """Return a row an agent: 1 for each number that its values see."""
        sizes, widths = self.team.sizes, [each.size for each in self.team.actions]
        agents = len(sizes)
        if not self.config.use_local_critic:
            return torch.ones(agents, sum(sizes) + sum(widths))
        own = torch.eye(agents)
        lengths = torch.tensor(sizes + widths)
        return torch.cat([own, own], 1).repeat_interleave(lengths, dim=1)

    def policy(self, warm: bool) -> TeamActorsPolicy:
        """Return what acts for all agents."""
        return TeamActorsPolicy(self.module["actors"].arrays(), self.config.noise, not warm)

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make a step down the loss of the values, and one of the policies."""
        config, module = self.config, self.module
        loss, errors, values = critic_loss(module, batch, self._sees, config.gamma)
        step(self._optimizers["critics"], loss, config.grad_clip)
        module["critics"].requires_grad_(False)
        policy_loss = actor_loss(module, batch, self._sees, config.actor_feature_reg)
        step(self._optimizers["actors"], policy_loss, config.grad_clip)
        module["critics"].requires_grad_(True)
        told = {
            "critic_loss": loss.detach(),
            "actor_loss": policy_loss.detach(),
            "qf_mean": values.mean(),
        }
        return told, errors.abs().mean(0)

    def follow(self) -> None:
        """Move the targets a little."""
        for name in ("actors", "critics"):
            follow(self.module[f"{name}_target"], self.module[name], self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers."""
        return dict(self._optimizers)
