"""PPO put together from components: modules, losses and connectors of a user's own."""

from __future__ import annotations

from typing import Any

from shoal.rllib.algorithms.algorithm import Algorithm
from shoal.rllib.core.learner.learner_group import merged
from shoal.rllib.env.env_runner_group import synchronous_parallel_sample


class ComponentPPO(Algorithm):
    """What `PPOConfig` builds when it is told a module, a learner, connectors or several learners.

    The steps are those of PPO; what makes them can be changed piece by piece, and costs more time than PPO's own way.

    Example: `PPOConfig().environment("CartPole-v1").rl_module(rl_module_spec=RLModuleSpec(module_class=Mine)).build()`
    """

    def training_step(self) -> dict[str, Any]:
        """Sample a batch of steps, learn from it in epochs of minibatches, hand the weights out."""
        config = self.config
        episodes, told = synchronous_parallel_sample(
            worker_set=self.env_runner_group,
            max_env_steps=config.train_batch_size,
            sample_timeout_s=config.sample_timeout_s,
            _return_metrics=True,
        )
        self.count(episodes, told)
        numbers = self.learner_group.update(
            episodes=episodes,
            timesteps={"num_env_steps_sampled_lifetime": self._steps},
            num_epochs=config.num_epochs,
            minibatch_size=config.minibatch_size,
            shuffle_batch_per_epoch=config.shuffle_batch_per_epoch,
        )
        self.hand_out()
        return merged(numbers)
