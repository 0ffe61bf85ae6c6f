"""What ES and ARS have in common: a task for each change of the weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch

import shoal
from shoal.rllib.algorithms.array_algorithm import ArrayAlgorithm
from shoal.rllib.environments import creator_of, flat_observation, size_of_observation
from shoal.rllib.evolution.playing import Contest, FlatPolicy, noise_of, play_changed
from shoal.rllib.modules.continuous import policy_layers
from shoal.rllib.sampling.transitions import Actions


class _Network(torch.nn.Module):  # type: ignore[misc]
    """The policy, and what was seen: how many observations, their sums, and the sums of their squares."""

    def __init__(self, layers: Any, size: int) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("count", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))


class Evolving(ArrayAlgorithm):
    """Plays with changed weights and moves the weights by what came of it. A task that fails is tried again."""

    def make_module(self) -> Any:
        """Return the policy's network."""
        config = self.config
        self.actions = Actions(self.action_space)
        size = size_of_observation(self.observation_space)
        hidden, kind = tuple(config.model["fcnet_hiddens"]), config.model["fcnet_activation"]
        self._contest = Contest(
            make=creator_of(config.env),
            config=config.env_config,
            widths=(size, *hidden, self.actions.size),
            activation=kind,
            spread=config.noise_stdev,
        )
        return _Network(policy_layers(size, self.actions.size, hidden, kind), size)

    def make_runners(self, make: Any) -> Any:
        """Return who plays: tasks, if there are to be any."""
        return _Tasks(self.config)

    @abstractmethod
    def step_of(self, plus: Any, minus: Any, seeds: Any, weights: Any) -> Any:
        """Return the new weights, of the returns of both changes for each seed."""

    @property
    def weights(self) -> Any:
        """The policy's weights, as one array."""
        vector = torch.nn.utils.parameters_to_vector(self.module.layers.parameters())
        return vector.detach().cpu().numpy()

    def training_step(self) -> dict[str, Any]:
        """Play with all changes once, and move the weights."""
        weights = self.weights
        mean, spread = self._seen()
        seeds = self._random.integers(2**62, size=self.directions()).tolist()
        played = self._runners.play(self._contest, weights, mean, spread, seeds)
        plus, minus = (np.array([each[side] for each in played]) for side in (0, 1))
        for first, second, steps, (count, sums, squares) in played:
            self._steps += steps
            self._episodes.extend([(first, steps // 2), (second, steps - steps // 2)])
            self.module.count += count
            self.module.sums += torch.tensor(sums, device=self.device)
            self.module.squares += torch.tensor(squares, device=self.device)
        moved = self.step_of(plus, minus, seeds, weights)
        vector = torch.as_tensor(moved, dtype=torch.float32, device=self.device)
        torch.nn.utils.vector_to_parameters(vector, self.module.layers.parameters())
        return {
            "weights_norm": float(np.linalg.norm(moved)),
            "step_norm": float(np.linalg.norm(moved - weights)),
            "return_of_changes_mean": float(np.concatenate([plus, minus]).mean()),
        }

    @abstractmethod
    def directions(self) -> int:
        """Return how many changes are played in one step."""

    def direction(self, weights_of: Any, seeds: Any) -> Any:
        """Return the sum of the changes that `seeds` stand for, each times its weight."""
        size = len(self.weights)
        made = np.zeros(size, np.float32)
        for weight, seed in zip(weights_of, seeds, strict=True):
            if weight:
                made += np.float32(weight) * noise_of(seed, size)
        return made

    def compute_single_action(self, observation: Any, explore: bool = True) -> Any:
        """Return the policy's action for one observation; there is no other, with `explore` or without."""
        flat = flat_observation(self.observation_space, observation)[None]
        policy = FlatPolicy(self._contest, self.weights, *self._seen(), self.actions.discrete)
        return self.actions.to_space(policy.actions(flat)[0])

    def learner_state(self) -> dict[str, Any]:
        """Return nothing: the network has it all."""
        return {}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Have nothing to go on from."""

    def _seen(self) -> tuple[Any, Any]:
        """The mean and the spread of observations, or 0 and 1 where they are not to count."""
        count = float(self.module.count)
        sums = self.module.sums.cpu().numpy()
        if self.config.observation_filter == "NoFilter" or not count:
            return np.zeros(len(sums), np.float32), np.ones(len(sums), np.float32)
        mean = sums / count
        variance = np.maximum(self.module.squares.cpu().numpy() / count - mean**2, 1e-8)
        return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


class _Tasks:
    """Plays here, or by a task for each seed."""

    def __init__(self, config: Any) -> None:
        self._play: Any = None
        self._timeout = config.sample_timeout_s
        if config.num_env_runners:
            if not shoal.is_initialized():
                shoal.init()
            have = shoal.cluster_resources().get("CPU", 0.0)
            cpus = min(config.num_cpus_per_env_runner, have / config.num_env_runners)
            self._play = shoal.remote(num_cpus=max(0.001, round(cpus, 3)))(play_changed)

    def play(self, contest: Contest, weights: Any, mean: Any, spread: Any, seeds: list[int]) -> list[Any]:
        """Return what came of each seed."""
        if self._play is None:
            return [play_changed(contest, weights, mean, spread, seed) for seed in seeds]
        center = shoal.put(weights)
        refs = [self._play.remote(contest, center, mean, spread, seed) for seed in seeds]
        found: list[Any] = shoal.get(refs, timeout=self._timeout * len(seeds))
        return found

    def stop(self) -> None:
        """Have nothing to end: tasks end by themselves."""
