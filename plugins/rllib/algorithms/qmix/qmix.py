"""QMIX: one value of the whole team, of which each agent knows its part."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.errors import ConfigError
from shoal.rllib.algorithms.off_policy.schedule import at_step
from shoal.rllib.algorithms.off_policy.team import TeamOffPolicy
from shoal.rllib.algorithms.qmix.loss import team_loss
from shoal.rllib.modules.optimizers import follow, step
from shoal.rllib.modules.team_q import Apart, Monotonic, Sum, TeamQNetwork, TeamQPolicy


class QMIX(TeamOffPolicy):
    """Monotonic mixing of agents' values; by its settings value decomposition networks too.

    All agents act at once, see and choose alike, and share a network, which is told their numbers.

    Example: `QMIXConfig().environment(TwoStepGame).build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._optimizer = torch.optim.RMSprop(
            self.module["online"].parameters(), lr=config.lr, alpha=config.optim_alpha, eps=config.optim_eps
        )

    def make_module(self) -> Any:
        """Return the agents' network and the mixer, and the targets of both."""
        config, team = self.config, self.team
        self.length = config.max_seq_len
        name = type(self).__name__
        for actions in team.actions:
            if not actions.discrete:
                raise ConfigError(f"{name} takes actions of Discrete, not of {self.action_space}")
        if len(set(team.sizes)) > 1 or len({each.size for each in team.actions}) > 1:
            raise ConfigError(
                f"agents of {name} share a network, and these differ: {self.observation_space}, {self.action_space}"
            )
        made = nn.ModuleDict({"online": self._parts(), "target": self._parts()})
        made["target"].load_state_dict(made["online"].state_dict())
        return made

    def _parts(self) -> nn.ModuleDict:
        config, team = self.config, self.team
        agents = len(team.agents)
        network = TeamQNetwork(
            agents=agents,
            inputs=team.sizes[0],
            actions=team.actions[0].size,
            hidden=tuple(config.model["fcnet_hiddens"]),
            activation=config.model["fcnet_activation"],
            memory=config.rnn_hidden_dim or 0,
        )
        mixer: nn.Module = Apart() if config.mixer is None else Sum()
        if config.mixer == "qmix":
            mixer = Monotonic(agents, team.state_size or sum(team.sizes), config.mixing_embed_dim)
        return nn.ModuleDict({"network": network, "mixer": mixer})

    def policy(self, warm: bool) -> TeamQPolicy:
        """Return what takes each agent's best choice, or by `epsilon` any."""
        epsilon = at_step(self.config.epsilon, self._steps)
        return TeamQPolicy(self.module["online"]["network"].arrays(), epsilon if warm else 1.0)

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make one step down the loss of a batch."""
        config = self.config
        loss, errors, value = team_loss(
            self.module["online"],
            self.module["target"],
            batch,
            self.states_of(batch),
            gamma=config.gamma,
            double=config.double_q,
        )
        step(self._optimizer, loss, config.grad_clip)
        return {"total_loss": loss.detach(), "qf_mean": value, "td_error_mean": errors.mean()}, errors

    def follow(self) -> None:
        """Move the targets to the networks."""
        follow(self.module["target"], self.module["online"], self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimiser."""
        return {"online": self._optimizer}
