"""What algorithms have in common that learn a model of the environment, and act by what it remembers."""

from __future__ import annotations

import copy
from typing import Any

import attrs
import numpy as np
import torch

from shoal.errors import ConfigError
from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig
from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy, as_arrays, as_tensors
from shoal.rllib.environments import flat_observation
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.transitions import Actions
from shoal.rllib.world_models.heads import Head
from shoal.rllib.world_models.policy import WorldPolicy
from shoal.rllib.world_models.sequences import SequenceBuffer, SequenceRunner


@attrs.frozen
class Acting:
    """The parts of a model that acting takes."""

    encoder: torch.nn.Module
    space: torch.nn.Module
    actor: torch.nn.Module
    scaled: Any


class WorldModelConfig(OffPolicyConfig):
    """Settings of algorithms that learn a model. Subclasses say which of their settings are the sequences of a batch
    (`sequences`) and the steps of each (`length`)."""

    @property
    def sequences(self) -> int:
        """How many sequences a batch has."""
        raise NotImplementedError(f"{type(self).__name__} has no property sequences")

    @property
    def length(self) -> int:
        """How many steps a sequence has."""
        raise NotImplementedError(f"{type(self).__name__} has no property length")

    @property
    def train_batch_size(self) -> int:
        """How many steps a batch has."""
        return self.sequences * self.length

    def rl_module(self, **settings: Any) -> Any:
        """Raise ConfigError: the networks of models are told by settings of their own."""
        raise ConfigError(f"networks of {type(self).__name__} are told by settings of training()")

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        if self.prioritised():
            raise ConfigError(
                'sequences are drawn uniformly: replay_buffer_config={"type": "EpisodeReplayBuffer"}'
            )


class WorldModelAlgorithm(OffPolicy):
    """Plays, learns a model of sequences, and a policy in what the model imagines."""

    head: Head

    def make_head(self, actions: Actions) -> Head:
        """Return how actions are drawn."""
        raise NotImplementedError(f"{type(self).__name__} has no method make_head")

    def scaled(self) -> Any:
        """Return the function that observations go through before they are seen."""
        raise NotImplementedError(f"{type(self).__name__} has no method scaled")

    def look_at(self, env: Any) -> None:
        """Take from an environment what its spaces are."""
        super().look_at(env)
        self.actions = Actions(self.action_space)
        self.head = self.make_head(self.actions)
        self._memory: Any = None

    def make_buffer(self) -> SequenceBuffer:
        """Return where streams are kept."""
        config = self.config
        streams = max(1, config.num_env_runners) * config.num_envs_per_env_runner
        return SequenceBuffer(config.replay_buffer_config["capacity"], config.length, streams, config.seed)

    def make_runners(self, make: Any) -> RunnerGroup:
        """Return runners that give streams."""
        return RunnerGroup(self._play(make), self.config, SequenceRunner)

    def policy(self, warm: bool) -> WorldPolicy:
        """Return what acts by the model as it is."""
        module = self.module
        parts = {name: module[name] for name in ("encoder", "space", "actor")}
        if self.device.type != "cpu":
            parts = {name: copy.deepcopy(part).cpu() for name, part in parts.items()}
        return WorldPolicy(Acting(**parts, scaled=self.scaled()), self.head, not warm, self.noise())

    def noise(self) -> float:
        """Return the spread of noise on real actions while it plays."""
        return 0.0

    def begin_episode(self) -> None:
        """Forget what `act` was asked so far."""
        self._memory = None

    def get_initial_state(self) -> tuple[()]:
        """Return what is remembered at the beginning of an episode."""
        return ()

    def compute_single_action(self, observation: Any, explore: bool = True, *, state: Any = None) -> Any:
        """Return an action for one observation, as at the beginning of an episode.

        With `state`, `get_initial_state()` or what the last call returned, return the action and the state then.
        """
        if self._greedy is None or self._greedy[0] != self.updates:
            self._greedy = self.updates, self.policy(warm=True)
        flat = flat_observation(self.observation_space, observation)[None]
        nothing = np.zeros(1, np.float32)
        made, after = self._greedy[1].actions(flat, nothing, state or None, self._random, explore)
        action = self.actions.to_space(int(made[0].argmax()) if self.actions.discrete else made[0])
        return action if state is None else (action, after)

    def act(self, observation: Any, explore: bool) -> Any:
        """Return an action in the episode that `begin_episode` began."""
        before = self.get_initial_state() if self._memory is None else self._memory
        action, self._memory = self.compute_single_action(observation, explore, state=before)
        return action

    def buffer_state(self) -> Any:
        """Return the buffer's state in tensors."""
        return as_tensors(self.buffer.state())

    def set_buffer_state(self, state: Any) -> None:
        """Let the buffer go on from there."""
        self.buffer.set_state(as_arrays(state))
