"""What actors with networks of values of actions are made of."""

from __future__ import annotations

from typing import Any

from torch import nn

from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.continuous import Critics, policy_layers


def actor_and_critics(config: Any, observations: Any, actions: Any) -> nn.ModuleDict:
    """Return a policy ("actor"), networks of values of actions ("critics") and their slower copies ("target").

    Parameters: `config` has `model` and `twin_q`; `observations` is their space, `actions` what they are to networks.

    Example: `actor_and_critics(config, env.observation_space, Actions(env.action_space))["critics"]`
    """
    size, count, discrete = size_of_observation(observations), actions.size, actions.discrete
    hidden, kind = tuple(config.model["fcnet_hiddens"]), config.model["fcnet_activation"]
    # Of choices all values come at once; of real numbers the value of those that go in.
    shape = (
        2 if config.twin_q else 1,
        size if discrete else size + count,
        count if discrete else 1,
        hidden,
        kind,
    )
    made = nn.ModuleDict(
        {
            "actor": policy_layers(size, count if discrete else 2 * count, hidden, kind),
            "critics": Critics(*shape),
            "target": Critics(*shape),
        }
    )
    made["target"].load_state_dict(made["critics"].state_dict())
    return made
