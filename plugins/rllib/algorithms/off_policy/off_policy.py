"""What algorithms have in common that keep what they saw, and learn from it again."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch

from shoal.rllib.algorithms.array_algorithm import ArrayAlgorithm
from shoal.rllib.environments import flat_observation
from shoal.rllib.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.transitions import Actions, TransitionPlay, TransitionRunner


class OffPolicy(ArrayAlgorithm):
    """Plays a little, keeps the transitions, learns from batches of all that are kept."""

    actions: Actions  # set by `make_module`, which is the first to need it

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.buffer = self.make_buffer()
        self.updates = 0  # batches learned from
        self._owed = 0.0  # batches that steps played have earned
        self._followed = 0  # steps played when the target networks last moved
        self._greedy: tuple[int, Any] | None = None

    @abstractmethod
    def policy(self, warm: bool) -> Any:
        """Return what acts by the weights as they are; before it is `warm` by chance alone."""

    @abstractmethod
    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Learn from a batch of tensors; return what is to be told, and how far off each row was (a tensor)."""

    @abstractmethod
    def follow(self) -> None:
        """Move the target networks."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers by names, which checkpoints keep."""

    def make_buffer(self) -> Any:
        """Return where transitions are kept."""
        given = self.config.replay_buffer_config
        if not self.config.prioritised():
            return ReplayBuffer(given["capacity"], seed=self.config.seed)
        return PrioritizedReplayBuffer(
            given["capacity"], given["alpha"], given["beta"], given["eps"], seed=self.config.seed
        )

    def make_runners(self, make: Any) -> Any:
        """Return runners that give transitions."""
        plain = self._play(make)
        names = [each.name for each in plain.__attrs_attrs__]
        play = TransitionPlay(**{n: getattr(plain, n) for n in names}, n_step=self.config.n_step)
        return RunnerGroup(play, self.config, TransitionRunner)

    @property
    def warm(self) -> bool:
        """Whether enough was played for learning to begin."""
        return bool(self._steps >= self.config.num_steps_sampled_before_learning_starts)

    def training_step(self) -> dict[str, Any]:
        """Play and learn by turns, for as many steps as an iteration has."""
        config = self.config
        played = max(1, config.num_env_runners) * config.num_envs_per_env_runner * config.steps_of_a_request()
        intensity = config.training_intensity
        each = played * intensity / config.train_batch_size if intensity is not None else 1.0
        told: dict[str, Any] = {}
        until = self._steps + config.min_sample_timesteps_per_iteration
        while self._steps < until:
            for rows in self._played(played):
                self.buffer.add(rows)
            if not self.warm or len(self.buffer) < 1:
                continue
            self._owed += each
            while self._owed >= 1.0:
                self._owed -= 1.0
                batch = self.buffer.sample(config.train_batch_size)
                told, errors = self.learn(self.tensors(batch))
                if isinstance(self.buffer, PrioritizedReplayBuffer):
                    self.buffer.update(batch["indices"], errors.abs().cpu().numpy())
                self.after_learning()
        return self.numbers(told)

    def after_learning(self) -> None:
        """Count a batch; move the target networks when it is time."""
        self.updates += 1
        if self._steps - self._followed >= self.config.target_network_update_freq:
            self._followed = self._steps
            self.follow()

    def numbers(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return what is told of the learning as numbers."""
        found = {name: float(value) for name, value in told.items()}
        return {**found, "num_module_steps_trained_lifetime": self.updates * self.config.train_batch_size}

    def tensors(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch on the device that learns."""
        made = {}
        for name, values in batch.items():
            if name != "indices":
                # What comes from the object store may not be written to, of which torch warns.
                own = values if values.flags.writeable else values.copy()
                made[name] = torch.as_tensor(own, device=self.device)
        return made

    def compute_single_action(self, observation: Any, explore: bool = True) -> Any:
        """Return an action for one observation: as it plays, or without `explore` the best one."""
        if self._greedy is None or self._greedy[0] != self.updates:
            self._greedy = self.updates, self.policy(warm=True)
        flat = flat_observation(self.observation_space, observation)[None]
        chosen = self._greedy[1].actions(flat, self._random, explore)
        return self.actions.to_space(chosen[0])

    def learner_state(self) -> dict[str, Any]:
        """Return the optimisers' states, torch's random numbers, the counts, and if it is to be the buffer."""
        state: dict[str, Any] = {
            "optimizers": {name: each.state_dict() for name, each in self.optimizers().items()},
            "torch": torch.get_rng_state(),
            "updates": self.updates,
            "owed": self._owed,
            "followed": self._followed,
        }
        if getattr(self.config, "store_buffer_in_checkpoints", False):
            state["buffer"] = self.buffer_state()
        return state

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        for name, each in self.optimizers().items():
            each.load_state_dict(state["optimizers"][name])
        torch.set_rng_state(state["torch"].cpu())
        self.updates, self._owed, self._followed = state["updates"], state["owed"], state["followed"]
        self._greedy = None
        if "buffer" in state:
            self.set_buffer_state(state["buffer"])

    def buffer_state(self) -> Any:
        """Return the buffer's state in tensors, which checkpoints are read from without running what is in them."""
        return as_tensors(self.buffer.state())

    def set_buffer_state(self, state: Any) -> None:
        """Let the buffer go on from there."""
        self.buffer.set_state(as_arrays(state))

    def _played(self, steps: int) -> list[Any]:
        made = self._runners.sample(self.policy(self.warm), steps)
        rows = []
        for each in made:
            self._episodes.extend(each["episodes"])
            self._steps += each["steps"]
            if each["rows"] is not None:
                rows.append(each["rows"])
        return rows


def as_tensors(state: Any) -> Any:
    """Return a state with tensors for arrays.

    Example: `torch.save(as_tensors(buffer.state()), file)`
    """
    if isinstance(state, dict):
        return {name: as_tensors(value) for name, value in state.items()}
    return torch.tensor(state) if isinstance(state, np.ndarray) else state


def as_arrays(state: Any) -> Any:
    """Return a state with arrays for tensors.

    Example: `buffer.set_state(as_arrays(torch.load(file)))`
    """
    if isinstance(state, dict):
        return {name: as_arrays(value) for name, value in state.items()}
    return state.cpu().numpy() if isinstance(state, torch.Tensor) else state
