"""One policy of an algorithm: what it does, its weights, and how it is taken elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shoal.errors import ConfigError
from shoal.rllib.environments import size_of_observation
from shoal.rllib.spaces.serialization import gym_space_to_dict

if TYPE_CHECKING:
    from shoal.rllib.algorithms.algorithm import Algorithm

MODEL = "model.pt2"
ABOUT = "model.json"


class Policy:
    """A policy of an algorithm, as it is at any time. Made by `algorithm.get_policy()`.

    Example: `action, _, _ = algorithm.get_policy().compute_single_action(observation, explore=False)`
    """

    def __init__(self, algorithm: Algorithm, name: str, observation_space: Any, action_space: Any) -> None:
        self._algorithm, self.name = algorithm, name
        self.observation_space, self.action_space = observation_space, action_space

    def compute_single_action(
        self, obs: Any, *, explore: bool | None = None
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Return (action, [], {}) for one observation: drawn, or with `explore=False` the best one."""
        return self._algorithm.act_of(self.name, obs, explore is not False), [], {}

    def compute_actions(
        self, obs_batch: Sequence[Any], *, explore: bool | None = None
    ) -> tuple[list[Any], list[Any], dict[str, Any]]:
        """Return (actions, [], {}) for several observations."""
        return [self.compute_single_action(obs, explore=explore)[0] for obs in obs_batch], [], {}

    def network(self) -> nn.Module:
        """Return the network that acts: from flat observations, one a row, to what actions are chosen by.

        Raises ConfigError for algorithms whose policy is no one network.
        """
        return self._algorithm.acting_network(self.name)

    def get_weights(self) -> dict[str, Any]:
        """Return the weights of the network that acts as arrays, by name."""
        return {name: value.detach().cpu().numpy() for name, value in self.network().state_dict().items()}

    def set_weights(self, weights: dict[str, Any]) -> None:
        """Take weights by name. Raises RuntimeError if they are another network's."""
        self.network().load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})

    def export_model(self, export_dir: str | os.PathLike[str]) -> str:
        """Write the network as a program of torch's that runs without Shoal, and what goes in and out; return its path.

        `torch.export.load(path).module()(observations)` runs it, on any number of flat observations.

        Raises ConfigError for algorithms whose policy is no one network.
        """
        folder = Path(export_dir)
        folder.mkdir(parents=True, exist_ok=True)
        network = self.network()
        device = next(network.parameters()).device
        size = size_of_observation(self.observation_space)
        rows = torch.export.Dim("rows", min=1)
        program = torch.export.export(
            network.eval(), (torch.zeros(2, size, device=device),), dynamic_shapes=({0: rows},)
        )
        network.train()
        torch.export.save(program, folder / MODEL)
        about = {
            "algorithm": type(self._algorithm).__name__,
            "policy": self.name,
            "observations": gym_space_to_dict(self.observation_space),
            "flat_size": size,
            "actions": gym_space_to_dict(self.action_space),
        }
        (folder / ABOUT).write_text(json.dumps(about, indent=1))
        return str(folder / MODEL)

    def export_checkpoint(self, export_dir: str | os.PathLike[str]) -> str:
        """Write the network's weights, which torch loads without running code; return the file's path."""
        folder = Path(export_dir)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(
            {name: value.cpu() for name, value in self.network().state_dict().items()}, folder / "policy.pt"
        )
        return str(folder / "policy.pt")


def network_named(module: nn.Module, name: str, owner: str) -> nn.Module:
    """Return the network of a policy: a part of that name, the part that acts, or the module itself.

    Raises ConfigError if there is none.

    Example: `network_named(algorithm.module, "default_policy", "SAC")`
    """
    if not isinstance(module, nn.ModuleDict):
        return module
    for part in (name, "actor", "online"):
        if part in module and not isinstance(module[part], nn.ModuleDict):
            found: nn.Module = module[part]
            return found
    raise ConfigError(f"the policy {name!r} of {owner} is no one network that could be taken out")
