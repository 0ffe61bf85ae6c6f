"""What algorithms have in common that learn from recorded episodes."""

from __future__ import annotations

from typing import Any

from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy
from shoal.rllib.environments import size_of_observation
from shoal.rllib.offline.reading import read_transitions
from shoal.rllib.replay.buffers import ReplayBuffer


class Offline(OffPolicy):
    """Reads the episodes once, and learns from batches that are drawn of their steps. Nobody plays."""

    def make_runners(self, make: Any) -> Any:
        """Return nobody."""
        return _Nobody()

    def make_buffer(self) -> ReplayBuffer:
        """Return all steps that were recorded."""
        config = self.config
        size = size_of_observation(self.observation_space)
        rows = read_transitions(config.input_, config.input_read_method, size, self.actions, config.gamma)
        made = ReplayBuffer(len(rows["rewards"]), seed=config.seed)
        made.add(rows)
        return made

    def training_step(self) -> dict[str, Any]:
        """Learn from some batches."""
        told: dict[str, Any] = {}
        for _ in range(self.config.dataset_num_iters_per_learner):
            told, _ = self.learn(self.tensors(self.buffer.sample(self.config.train_batch_size)))
            self.after_learning()
        return self.numbers(told)

    def train(self) -> dict[str, Any]:
        """Learn from some batches; return numbers, `num_rows_trained_lifetime` among them. Returns of episodes are no
        numbers, since none are played."""
        result = super().train()
        result["num_rows_trained_lifetime"] = self.updates * self.config.train_batch_size
        return result

    def after_learning(self) -> None:
        """Count a batch; move the target networks, if there are any."""
        self.updates += 1
        self.follow()


class _Nobody:
    def stop(self) -> None:
        """Have nothing to end."""
