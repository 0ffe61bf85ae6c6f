"""Algorithms that are put together from components: modules, losses, connectors, callbacks, learners of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.algorithm import Algorithm
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.dqn import DQNConfig
from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.algorithms.ppo.component_ppo import ComponentPPO
from shoal.rllib.algorithms.ppo.ppo_torch_learner import PPOTorchLearner
from shoal.rllib.callbacks import RLlibCallback
from shoal.rllib.connectors.connector_v2 import ConnectorV2
from shoal.rllib.connectors.env_to_module import FlattenObservations, MeanStdFilter, PrevActionsPrevRewards
from shoal.rllib.connectors.env_to_module.frame_stacking import FrameStacking
from shoal.rllib.connectors.learner import ComputeReturnsToGo
from shoal.rllib.core.columns import Columns
from shoal.rllib.core.learner.learner_group import merged
from shoal.rllib.core.learner.torch_learner import TorchLearner
from shoal.rllib.core.rl_module import RLModuleSpec
from shoal.rllib.core.rl_module.apis import ValueFunctionAPI
from shoal.rllib.core.rl_module.torch_rl_module import TorchRLModule
from shoal.rllib.env.env_runner_group import synchronous_parallel_sample


class Small(TorchRLModule, ValueFunctionAPI):
    """A policy and values with one layer in common."""

    def setup(self) -> None:
        inputs = int(np.prod(self.observation_space.shape))
        width = self.model_config.get("width", 32)
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs, width), torch.nn.Tanh())
        self.policy = torch.nn.Linear(width, int(self.action_space.n))
        self.values = torch.nn.Linear(width, 1)

    def _forward(self, batch: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.policy(self.body(batch[Columns.OBS]))}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
        return self.values(self.body(batch[Columns.OBS])).squeeze(-1)


class Remembers(TorchRLModule, ValueFunctionAPI):
    """A recurrent policy with values."""

    def setup(self) -> None:
        inputs, self.width = int(np.prod(self.observation_space.shape)), 24
        self.cell = torch.nn.LSTM(inputs, self.width, batch_first=True)
        self.policy = torch.nn.Linear(self.width, int(self.action_space.n))
        self.values = torch.nn.Linear(self.width, 1)

    def get_initial_state(self) -> Any:
        return {"h": np.zeros(self.width, np.float32), "c": np.zeros(self.width, np.float32)}

    def _through(self, batch: dict[str, Any]) -> tuple[Any, Any]:
        state = batch[Columns.STATE_IN]
        found, (h, c) = self.cell(batch[Columns.OBS].float(), (state["h"][None], state["c"][None]))
        return found, {"h": h[0], "c": c[0]}

    def _forward(self, batch: dict[str, Any], **more: Any) -> dict[str, Any]:
        found, state = self._through(batch)
        return {Columns.ACTION_DIST_INPUTS: self.policy(found), Columns.STATE_OUT: state}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
        return self.values(self._through(batch)[0]).squeeze(-1)


class Recall(gymnasium.Env[Any, Any]):
    """Shows one of two signs, then nothing for two steps; the return is 1 for the action of that sign at the end."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._sign, self._step = int(self.np_random.integers(2)), 0
        return np.array([2.0 * self._sign - 1], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        over = self._step == 3
        return np.zeros(1, np.float32), float(over and action == self._sign), over, False, {}


def small(**training: Any) -> PPOConfig:
    """PPO that learns CartPole a little in a few seconds."""
    settings = {"lr": 1e-3, "num_epochs": 6, "train_batch_size": 1000, "minibatch_size": 200, "lambda_": 0.95}
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .training(**{**settings, **training})
        .env_runners(num_envs_per_env_runner=4)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=Small))
        .debugging(seed=1)
    )


def iterations(config: AlgorithmConfig, count: int) -> list[dict[str, Any]]:
    """Train so many times; return the results."""
    algorithm = config.build()
    try:
        return [algorithm.train() for _ in range(count)]
    finally:
        algorithm.stop()


@pytest.fixture
def cluster() -> Iterator[None]:
    """A node with a few CPUs."""
    shoal.init(num_cpus=4)
    yield
    shoal.shutdown()


def test_a_module_of_ones_own_is_played_and_learned() -> None:
    results = iterations(small(), 8)
    assert results[-1]["episode_reward_mean"] > 2 * results[0]["episode_reward_mean"]
    assert results[-1]["learners"]["default_policy"]["total_loss"] == pytest.approx(
        results[-1]["learners"]["default_policy"]["total_loss"]
    )


def test_the_same_steps_are_learned_from_alike_with_and_without_components() -> None:
    def learned(config: PPOConfig) -> float:
        return float(iterations(config.rl_module(rl_module_spec=None), 10)[-1]["episode_reward_mean"])

    plain = small().copy()
    plain._settings["rl_module_spec"] = None
    whole, parts = learned(plain.copy()), learned(plain.copy().env_runners(episode_lookback_horizon=2))
    assert min(whole, parts) > 45
    assert 0.5 < whole / parts < 2


class Penalised(PPOTorchLearner):
    """PPO's loss and a second part, that is told too."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        loss = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        squares = sum(each.square().sum() for each in self.get_parameters(self.module[module_id]))
        self.metrics.log_value((module_id, "squares"), squares.detach(), reduce="item")
        return loss + config.learner_config_dict["weight"] * squares


def test_a_loss_of_ones_own_is_minimised() -> None:
    def squares(weight: float) -> float:
        config = small().learners(learner_class=Penalised, learner_config_dict={"weight": weight})
        return float(iterations(config, 4)[-1]["learners"]["default_policy"]["squares"])

    assert squares(10.0) < 0.5 * squares(0.0)


class Vanilla(TorchLearner):
    """The policy gradient of Williams (1992)."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        kind = self.module[module_id].get_train_action_dist_cls()
        logs = kind.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS]).logp(batch[Columns.ACTIONS])
        returns = batch[Columns.RETURNS_TO_GO]
        return -(logs * (returns - returns.mean())).mean()


class PolicyGradientConfig(AlgorithmConfig):
    """An algorithm of a user's, with a learner and a piece of its own."""

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=Small)

    def get_default_learner_class(self) -> Any:
        return Vanilla

    def build_learner_connector(self, *args: Any, **more: Any) -> Any:
        pipeline = super().build_learner_connector(*args, **more)
        pipeline.prepend(ComputeReturnsToGo(gamma=self.gamma))
        return pipeline


class PolicyGradient(Algorithm):
    """An algorithm of a user's."""

    config_class = PolicyGradientConfig

    def training_step(self) -> dict[str, Any]:
        episodes, told = synchronous_parallel_sample(
            worker_set=self.env_runner_group,
            max_env_steps=self.config.train_batch_size,
            _return_metrics=True,
        )
        self.count(episodes, told)
        numbers = self.learner_group.update(episodes=episodes)
        self.hand_out()
        return merged(numbers)


def test_an_algorithm_of_ones_own_learns() -> None:
    config = (
        PolicyGradientConfig(PolicyGradient)
        .environment("CartPole-v1")
        .training(lr=0.01, train_batch_size=600)
        .env_runners(batch_mode="complete_episodes")
        .debugging(seed=3)
    )
    results = iterations(config, 15)
    assert results[-1]["episode_reward_mean"] > 1.7 * results[0]["episode_reward_mean"]


class Doubles(ConnectorV2):
    """Doubles observations."""

    def __call__(self, *, batch: Any, episodes: list[Any], **more: Any) -> Any:  # type: ignore[override]
        for episode in self.single_agent_episode_iterator(episodes):
            episode.set_observations(new_data=2 * episode.get_observations(-1), at_indices=-1)
        return batch


def test_learners_see_observations_as_connectors_made_them() -> None:
    def first(connector: Any) -> Any:
        config = small(train_batch_size=40, minibatch_size=40)
        if connector:
            config.env_runners(env_to_module_connector=lambda env, spaces, device: Doubles())
        algorithm = config.env_runners(num_envs_per_env_runner=1).build()
        try:
            return algorithm.env_runner.sample(num_timesteps=40, random_actions=True)[0]
        finally:
            algorithm.stop()

    plain, doubled = first(False), first(True)
    assert np.allclose(doubled.get_observations(0), 2 * plain.get_observations(0))
    assert np.abs(doubled.get_observations()).max() > 0


def test_filters_of_all_runners_come_together(cluster: None) -> None:
    config = small().env_runners(num_env_runners=2, env_to_module_connector=lambda env: MeanStdFilter())
    algorithm = config.build()
    try:
        algorithm.train()
        states = algorithm.env_runner_group.foreach_env_runner("get_state")
        counts = [state["env_to_module_connector"]["000_MeanStdFilter"]["seen"][None][0] for state in states]
        # Each has what both had seen, and what it saw since.
        assert min(counts) >= 1000
        assert np.isfinite(algorithm.compute_single_action(np.zeros(4, np.float32), explore=False))
    finally:
        algorithm.stop()


@pytest.mark.parametrize(
    "pieces",
    [
        lambda env, spaces, device: [PrevActionsPrevRewards(n_prev_actions=2), FlattenObservations()],
        lambda env, spaces, device: FrameStacking(num_frames=3),
    ],
    ids=["previous", "frames"],
)
def test_pieces_change_the_space_that_modules_see(pieces: Any) -> None:
    config = small().env_runners(env_to_module_connector=pieces)
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=Small))
    if "Frame" in repr(pieces(None, None, None)) or not isinstance(pieces(None, None, None), list):
        config.learners(
            learner_connector=lambda seen, acted: FrameStacking(num_frames=3, as_learner_connector=True)
        )
    else:
        config.learners(learner_connector=lambda seen, acted: FlattenAgain())
    result = iterations(config, 2)[-1]
    assert np.isfinite(result["learners"]["default_policy"]["total_loss"])


class FlattenAgain(ConnectorV2):
    """Flattens what PrevActionsPrevRewards has put into episodes, for learners."""

    def __call__(self, *, batch: Any, episodes: list[Any], **more: Any) -> Any:  # type: ignore[override]
        for episode in self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False):
            for step in range(len(episode)):
                seen = episode.get_observations(step)
                flat = np.concatenate([np.ravel(seen[name]) for name in sorted(seen)]).astype(np.float32)
                self.add_batch_item(batch, Columns.OBS, flat, episode)
        return batch


def test_what_must_be_remembered_is_learned_by_a_module_with_a_state_only() -> None:
    def reward(module: Any) -> float:
        config = (
            small(lr=5e-3, train_batch_size=600, minibatch_size=100, entropy_coeff=0.003)
            .environment(Recall)
            .rl_module(rl_module_spec=RLModuleSpec(module_class=module))
        )
        return float(iterations(config, 12)[-1]["episode_reward_mean"])

    assert reward(Remembers) > 0.9
    assert reward(Small) < 0.7


class Counts(RLlibCallback):
    """Logs the greatest position of each episode, and counts moments."""

    def on_episode_start(self, *, episode: Any, **more: Any) -> None:
        episode.custom_data["greatest"] = 0.0

    def on_episode_step(self, *, episode: Any, env: Any = None, env_index: int = 0, **more: Any) -> None:
        here = abs(float(episode.get_observations(-1)[0]))
        episode.custom_data["greatest"] = max(episode.custom_data["greatest"], here)

    def on_episode_end(self, *, episode: Any, metrics_logger: Any = None, **more: Any) -> None:
        metrics_logger.log_value("greatest_position", episode.custom_data["greatest"], reduce="max")

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **more: Any) -> None:
        result["seen"] = algorithm.metrics.peek(("env_runners", "greatest_position"))


def test_callbacks_hear_of_episodes_in_the_processes_that_play(cluster: None) -> None:
    config = small().callbacks(Counts).env_runners(num_env_runners=1)
    assert 0 < iterations(config, 1)[0]["seen"] < 5


def test_two_learners_share_gradients(cluster: None) -> None:
    config = small().learners(num_learners=2)
    algorithm = config.build()
    try:
        results = [algorithm.train() for _ in range(6)]
        weights = algorithm.learner_group.foreach_learner(lambda learner: learner.module.get_state())
        for name, value in weights[0]["default_policy"].items():
            assert np.allclose(value, weights[1]["default_policy"][name], atol=1e-6), name
    finally:
        algorithm.stop()
    assert results[-1]["episode_reward_mean"] > 1.3 * results[0]["episode_reward_mean"]


def test_a_runner_that_dies_is_replaced(cluster: None) -> None:
    algorithm = small().env_runners(num_env_runners=2).build()
    try:
        algorithm.train()
        group = algorithm.env_runner_group
        shoal.kill(group._actors[1])
        before = algorithm.train()["num_env_steps_sampled_lifetime"]
        assert group.num_remote_worker_restarts() == 1
        assert algorithm.train()["num_env_steps_sampled_lifetime"] >= before + 1000
    finally:
        algorithm.stop()


def test_a_checkpoint_restores_the_same_actions_and_the_same_learning(tmp_path: Path) -> None:
    config = small().env_runners(env_to_module_connector=lambda env: MeanStdFilter())
    first, second = config.build(), config.copy().debugging(seed=9).build()
    try:
        first.train()
        second.restore(first.save(tmp_path / "checkpoint"))
        seen = np.array([0.1, -0.2, 0.03, 0.4], np.float32)
        ours, theirs = first.learner_group.get_state(), second.learner_group.get_state()
        states = ours["learner"]["optimizer"]["default_policy/default_optimizer"]["state"]
        again = theirs["learner"]["optimizer"]["default_policy/default_optimizer"]["state"]
        assert torch.equal(states[0]["exp_avg"], again[0]["exp_avg"])
        assert first.compute_single_action(seen, explore=False) == second.compute_single_action(
            seen, explore=False
        )
        assert second.iteration == 1
    finally:
        first.stop()
        second.stop()


def test_a_module_is_written_and_read_by_itself(tmp_path: Path) -> None:
    algorithm = small().build()
    try:
        module = algorithm.get_module()
        module.save_to_path(tmp_path / "module")
        again = Small.from_checkpoint(tmp_path / "module")
        seen = {Columns.OBS: torch.randn(3, 4)}
        ours, theirs = (each.forward_inference(seen)[Columns.ACTION_DIST_INPUTS] for each in (module, again))
        assert torch.equal(ours, theirs)
    finally:
        algorithm.stop()


class WithoutValues(TorchRLModule):
    """A policy only."""

    def setup(self) -> None:
        self.layer = torch.nn.Linear(4, 2)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            DQNConfig().environment("CartPole-v1").env_runners(explore=False),
            "DQN is not put together from components: explore does nothing",
        ),
        (
            small().rl_module(rl_module_spec=RLModuleSpec(module_class=WithoutValues)),
            r"module 'default_policy' \(WithoutValues\) must have ValueFunctionAPI for PPOTorchLearner",
        ),
        (small().rl_module(rl_module_spec=RLModuleSpec(module_class=int)), "must be a subclass of RLModule"),
        (small().env_runners(env_to_module_connector=3), "must be a function of"),
        (
            AlgorithmConfig(PolicyGradient).environment("CartPole-v1"),
            "AlgorithmConfig has no module of its own",
        ),
    ],
)
def test_what_cannot_be_is_told(config: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config.build()


@pytest.mark.parametrize(
    ("family", "settings", "told"),
    [
        ("env_runners", {"batch_mode": "whole"}, "batch_mode must be one of truncate_episodes"),
        ("training", {"grad_clip_by": "length"}, "grad_clip_by must be one of"),
        ("learners", {"num_learner": 2}, "did you mean num_learners"),
        ("learners", {"num_learners": -1}, "num_learners must be a number ≥ 0"),
    ],
)
def test_wrong_settings_are_told(family: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        getattr(PPOConfig(), family)(**settings)


def test_the_class_follows_from_what_is_told() -> None:
    assert small().algorithm_class() is ComponentPPO
    assert PPOConfig().algorithm_class().__name__ == "PPO"


def test_a_configuration_is_a_mapping() -> None:
    config = PPOConfig().environment("CartPole-v1").training(lr=0.1)
    assert config["lr"] == config.get("lr") == dict(config.items())["lr"] == 0.1
    assert "num_workers" in config
    assert "nothing" not in config
    config["num_workers"] = 2
    assert config.num_rollout_workers == config["num_env_runners"] == 2
    assert config.pop("lr") == 0.1
    assert config["lr"] == PPOConfig().lr
    assert PPOConfig.overrides(num_sgd_iter=3) == {"num_epochs": 3}
    again = AlgorithmConfig.from_state(config.get_state())
    assert isinstance(again, PPOConfig)
    assert again.num_env_runners == 2
    assert config.serialize()["env"] == "CartPole-v1"
    assert not config.is_multi_agent
    config.freeze()
    with pytest.raises(ConfigError, match="is frozen"):
        config.training(lr=1.0)
    assert config.copy(copy_frozen=False).training(lr=1.0).lr == 1.0
    with pytest.raises(KeyError, match="no setting 'nothing'"):
        config["nothing"]


def test_an_algorithm_is_made_of_its_checkpoint(tmp_path: Path) -> None:
    config = small().rl_module(model_config={"fcnet_hiddens": (8,)})
    first = config.build()
    try:
        first.train()
        path = first.save(tmp_path / "checkpoint")
        again = Algorithm.from_checkpoint(path)
        seen = np.array([0.1, -0.2, 0.03, 0.4], np.float32)
        assert again.iteration == 1
        assert again.compute_single_action(seen, explore=False) == first.compute_single_action(
            seen, explore=False
        )
        again.stop()
    finally:
        first.stop()
    with pytest.raises(ConfigError, match="is of ComponentPPO, which is no PolicyGradient"):
        PolicyGradient.from_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r"no config\.pkl"):
        Algorithm.from_checkpoint(tmp_path)
