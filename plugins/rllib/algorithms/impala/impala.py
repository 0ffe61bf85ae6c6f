"""IMPALA: a learner that corrects with V-trace for what runners did with older weights."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.array_algorithm import ArrayAlgorithm
from shoal.rllib.algorithms.impala.loss import Settings, tensors, traced_loss
from shoal.rllib.modules.optimizers import adam, step
from shoal.rllib.sampling.fragments import FragmentRunner, beside
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.pipeline import Pipeline

_STALENESS = 100  # batches that the mean is taken over


class IMPALA(ArrayAlgorithm):
    """Importance weighted actor-learners (Espeholt et al., 2018).

    `learners` tells besides the loss how many updates old the weights were that a batch was played with
    (`staleness_mean`, `staleness_max`).

    Example: `IMPALAConfig().environment("CartPole-v1").build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: AlgorithmConfig) -> None:
        super().__init__(config)
        self._optimizer = adam(self.module.parameters(), config.lr)
        self._updates = 0
        self._stale: deque[int] = deque(maxlen=_STALENESS)
        length = config.rollout_fragment_length
        self._length = 50 if length == "auto" else int(length)
        self._pipeline = (
            Pipeline(
                self._runners,
                self._length,
                config.max_requests_in_flight_per_env_runner,
                config.sample_timeout_s,
            )
            if config.num_env_runners
            else None
        )
        self._publish()

    def make_runners(self, make: Any) -> RunnerGroup:
        """Return runners that give stretches of play."""
        return RunnerGroup(self._play(make), self.config, FragmentRunner)

    def target(self) -> Any:
        """Return the network that ratios are taken to; None is the one that learns."""
        return None

    def settings(self) -> Settings:
        """Return what the loss is made with."""
        config = self.config
        return Settings(
            gamma=config.gamma,
            lambda_=config.lambda_,
            rho=config.vtrace_clip_rho_threshold,
            pg_rho=config.vtrace_clip_pg_rho_threshold,
            value=config.vf_loss_coeff,
            entropy=config.entropy_coeff,
        )

    def training_step(self) -> dict[str, Any]:
        """Learn once from the next stretches that runners have."""
        config = self.config
        per_fragment = self._length * config.num_envs_per_env_runner
        wanted = math.ceil(config.train_batch_size / per_fragment)
        if self._pipeline is None:
            got = self._runners.sample(self.module.arrays(), wanted * per_fragment)
            ages = [0]
        else:
            answers = [self._pipeline.next() for _ in range(wanted)]
            got, ages = [each for each, _ in answers], [self._updates - version for _, version in answers]
        for each in got:
            self._episodes.extend(each.pop("episodes"))
            self._steps += each["rewards"].size
        self._stale.extend(ages)
        told = self.learn(tensors(beside(got), self.device))
        self._updates += 1
        if self._updates % config.broadcast_interval == 0:
            self._publish()
        return {
            **{name: float(value) for name, value in told.items()},
            "num_updates": self._updates,
            "staleness_mean": float(np.mean(self._stale)),
            "staleness_max": max(self._stale),
        }

    def learn(self, seen: dict[str, Any]) -> dict[str, Any]:
        """Make the steps down the loss of a batch; return its parts."""
        settings = self.settings()
        told: dict[str, Any] = {}
        for _ in range(self.config.num_epochs):
            loss, told = traced_loss(self.module, self.target(), self.distribution, seen, settings)
            step(self._optimizer, loss, self.config.grad_clip)
        return told

    def learner_state(self) -> dict[str, Any]:
        """Return the optimiser's state and the number of updates."""
        return {"optimizer": self._optimizer.state_dict(), "updates": self._updates}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._updates = state["updates"]
        self._publish()

    def _publish(self) -> None:
        if self._pipeline is not None:
            self._pipeline.publish(self.module.arrays(), self._updates)
