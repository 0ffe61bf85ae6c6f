"""MBMPO: a policy that is learned so that a step of gradients adapts it to any of several models."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch import nn

from shoal.errors import ConfigError
from shoal.rllib.algorithms.array_algorithm import ArrayAlgorithm
from shoal.rllib.algorithms.mbmpo.adaptation import LEAST_SPREAD, Paths, adapted, outer_loss, stacked
from shoal.rllib.algorithms.mbmpo.imagination import play_in_models
from shoal.rllib.algorithms.off_policy.off_policy import as_arrays, as_tensors
from shoal.rllib.environments import flat_observation, size_of_observation
from shoal.rllib.modules.continuous import NormalPolicy, policy_layers
from shoal.rllib.modules.distributions import Normals
from shoal.rllib.modules.dynamics import DynamicsEnsemble, fit
from shoal.rllib.modules.layers import arrays_of
from shoal.rllib.modules.optimizers import adam, step
from shoal.rllib.replay.buffers import ReplayBuffer
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.transitions import Actions, TransitionPlay, TransitionRunner

_SPREAD = -0.7  # the logarithm of actions' spread at first
_KEPT = ("observations", "actions", "next_observations")


class MBMPO(ArrayAlgorithm):
    """Model-based meta-policy optimisation (Clavera et al., 2018).

    Example: `MBMPOConfig().environment(PointMass).training(horizon=25).build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._own = self._make(config.env_config)  # where episodes begin in models, and what is paid there
        if not callable(getattr(self._own.unwrapped, "reward", None)):
            raise ConfigError(
                f"MBMPO needs an environment with a method reward(observations, actions, next_observations), "
                f"and {self._own.unwrapped} has none"
            )
        self._own.reset(seed=config.seed)
        self._optimizer = adam(self.module["actor"].parameters(), config.lr)
        self._distribution = Normals(self.actions.size)
        self._data = ReplayBuffer(config.capacity, seed=config.seed)
        self._last: list[Paths] = []  # by which policies adapt before they play

    def look_at(self, env: Any) -> None:
        """Take from an environment what its spaces are."""
        super().look_at(env)
        self.actions = Actions(self.action_space)
        if self.actions.discrete:
            raise ConfigError(f"MBMPO takes actions of Box, not of {self.action_space}")

    def make_module(self) -> Any:
        """Return the policy and the models."""
        model, dynamics = self.config.model, self.config.dynamics_model
        numbers, size = size_of_observation(self.observation_space), self.actions.size
        actor = policy_layers(numbers, 2 * size, tuple(model["fcnet_hiddens"]), model["fcnet_activation"])
        with torch.no_grad():
            actor[-1].bias[size:] = _SPREAD
        models = DynamicsEnsemble(
            dynamics["ensemble_size"],
            numbers,
            size,
            tuple(dynamics["fcnet_hiddens"]),
            dynamics["fcnet_activation"],
        )
        return nn.ModuleDict({"actor": actor, "models": models})

    def make_runners(self, make: Any) -> RunnerGroup:
        """Return runners that give transitions."""
        return RunnerGroup(
            TransitionPlay(**attrs.asdict(self._play(make), recurse=False)), self.config, TransitionRunner
        )

    def training_step(self) -> dict[str, Any]:
        """Play by adapted policies, let the models learn what was seen, and then the policy in them."""
        config, dynamics = self.config, self.config.dynamics_model
        self._collect()
        kept = self._data.rows(np.arange(self._data.added - len(self._data), self._data.added))
        data = [torch.as_tensor(kept[name], device=self.device) for name in _KEPT]
        epochs, error = fit(
            self.module["models"],
            data,
            self._random,
            epochs=dynamics["train_epochs"],
            batch=dynamics["batch_size"],
            lr=dynamics["lr"],
            held_out=dynamics["valid_split_ratio"],
        )
        told: dict[str, Any] = {}
        for _ in range(config.num_maml_steps):
            told = self._improve()
        return {**told, "dynamics_epochs": epochs, "dynamics_error": error}

    def compute_single_action(self, observation: Any, explore: bool = True) -> Any:
        """Return an action for one observation, by the policy that has adapted to no model."""
        flat = flat_observation(self.observation_space, observation)[None]
        chosen = NormalPolicy(arrays_of(self.module["actor"]), LEAST_SPREAD).actions(
            flat, self._random, explore
        )
        return self.actions.to_space(chosen[0])

    def stop(self) -> None:
        """End the runners, and close the environment that it begins in."""
        super().stop()
        self._own.close()

    def learner_state(self) -> dict[str, Any]:
        """Return the optimiser's state, torch's random numbers, what was seen, and what policies adapt by."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "data": as_tensors(self._data.state()),
            "last": [attrs.asdict(each, recurse=False) for each in self._last],
        }

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch"].cpu())
        self._data.set_state(as_arrays(state["data"]))
        self._last = [Paths(**each) for each in state["last"]]

    def _collect(self) -> None:
        """Play: before anything is known by the policy, then by as many as there are models, each adapted to one."""
        config, actor = self.config, self.module["actor"]
        policies = [NormalPolicy(arrays_of(actor), LEAST_SPREAD)]
        if self._last:
            count = config.dynamics_model["ensemble_size"]
            weights = adapted(
                actor, self._distribution, stacked(actor, count), self._last, config.inner_lr, learns=False
            )
            policies = [
                NormalPolicy(_arrays(actor, [each[place] for each in weights]), LEAST_SPREAD)
                for place in range(count)
            ]
        for policy in policies:
            for each in self._runners.sample(policy, -(-config.train_batch_size // len(policies))):
                self._episodes.extend(each["episodes"])
                self._steps += each["steps"]
                if each["rows"] is not None:
                    self._data.add({name: each["rows"][name] for name in _KEPT})

    def _improve(self) -> dict[str, Any]:
        """Make the steps of the policy that follow on one play in the models, before and after adapting to them."""
        config, actor = self.config, self.module["actor"]
        count = config.dynamics_model["ensemble_size"]
        before: list[Paths] = []
        weights = [each.detach() for each in stacked(actor, count)]
        for _ in range(config.inner_adaptation_steps):
            paths, first = self._play_in_models(weights)
            before.append(paths)
            weights = adapted(actor, self._distribution, weights, [paths], config.inner_lr, learns=False)
        after, then = self._play_in_models(weights)
        for _ in range(config.maml_optimizer_steps):
            moved = adapted(
                actor, self._distribution, stacked(actor, count), before, config.inner_lr, learns=True
            )
            loss, divergence = outer_loss(
                actor,
                self._distribution,
                moved,
                after,
                clip=config.clip_param,
                divergence=config.kl_coeff,
                entropy=config.entropy_coeff,
            )
            step(self._optimizer, loss, config.grad_clip)
        self._last = before
        return {
            "total_loss": float(loss.detach()),
            "mean_kl_loss": float(divergence),
            "imagined_return_before_adapting": first,
            "imagined_return": then,
        }

    def _play_in_models(self, weights: Any) -> tuple[Paths, float]:
        config = self.config
        count = config.dynamics_model["ensemble_size"]
        begins = [
            flat_observation(self.observation_space, self._own.reset()[0])
            for _ in range(count * config.num_trajectories)
        ]
        own: Any = self._own.unwrapped
        played: tuple[Paths, float] = play_in_models(
            self.module["models"],
            self.module["actor"],
            weights,
            torch.as_tensor(np.stack(begins), device=self.device).unflatten(
                0, (count, config.num_trajectories)
            ),
            config.horizon,
            reward=own.reward,
            actions=self.actions,
            gamma=config.gamma,
            lambda_=config.lambda_,
        )
        return played


def _arrays(network: nn.Sequential, weights: list[Any]) -> list[Any]:
    """Return a network with other weights as arrays."""
    made: list[Any] = []
    left = list(weights)
    for each in arrays_of(network):
        if isinstance(each, str):
            made.append(each)
            continue
        weight, bias, *left = left
        made.append((weight.detach().cpu().numpy(), bias[0].detach().cpu().numpy()))
    return made
