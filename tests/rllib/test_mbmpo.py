"""MBMPO: models, adaptation and its gradients against definitions, learning in few steps, checkpoints, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import Corridor
from small_environments import Centre

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.mbmpo import MBMPOConfig
from shoal.rllib.algorithms.mbmpo.adaptation import (
    LEAST_SPREAD,
    Paths,
    adapted,
    inner_loss,
    outer_loss,
    outputs_of,
    stacked,
)
from shoal.rllib.algorithms.mbmpo.imagination import play_in_models
from shoal.rllib.examples import PointMass
from shoal.rllib.modules.continuous import policy_layers
from shoal.rllib.modules.distributions import Normals
from shoal.rllib.modules.dynamics import DynamicsEnsemble, fit
from shoal.rllib.sampling.transitions import Actions

SETTINGS: dict[str, Any] = {
    "horizon": 25,
    "train_batch_size": 250,
    "lr": 3e-3,
    "gamma": 0.97,
    "num_maml_steps": 5,
    "num_trajectories": 10,
    "maml_optimizer_steps": 4,
    "model": {"fcnet_hiddens": [32, 32]},
    "dynamics_model": {"ensemble_size": 3, "fcnet_hiddens": [64], "train_epochs": 40},
}


def config(env: Any = PointMass, **training: Any) -> MBMPOConfig:
    made = MBMPOConfig().environment(env).training(**{**SETTINGS, **training}).debugging(seed=1)
    return made.evaluation(evaluation_duration=20)


def test_it_learns_in_a_thousand_steps() -> None:
    """By chance the return is about -20, the best is about -2."""
    algorithm = config().build()
    for _ in range(4):
        result = algorithm.train()
    assert algorithm.evaluate()["episode_reward_mean"] > -6
    assert result["num_env_steps_sampled_lifetime"] < 1010
    assert result["learners"]["default_policy"]["dynamics_error"] < 0.05


class Sliding(PointMass):
    """Does what `PointMass` does, and pays with another shape."""

    def reward(self, observations: Any, actions: Any, next_observations: Any) -> Any:
        return np.zeros((len(observations), 1))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self._state.copy(), 0.0, False, self._steps >= 25, {}


def network_of(kind: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    network = policy_layers(3, 4, (5,), "tanh").to(kind)
    with torch.no_grad():
        network[-1].weight.mul_(20)
    return network


def paths_of(network: Any, weights: Any, models: int = 2, rows: int = 6) -> Paths:
    observations = torch.randn(models, rows, 3, dtype=torch.float64)
    outputs = outputs_of(network, weights, observations).detach()
    means, logs = outputs.chunk(2, -1)
    actions = means + logs.exp() * torch.randn_like(means)
    return Paths(
        observations=observations,
        actions=actions,
        log_probabilities=Normals(2).log_probability(outputs, actions),
        outputs=outputs,
        advantages=torch.randn(models, rows, dtype=torch.float64),
    )


def test_each_model_has_a_step_of_policy_gradients_of_its_own() -> None:
    """Equation 3, against a network for each model that takes a step down -E[log p A]."""
    network = network_of()
    start = [each.detach() for each in stacked(network, 2)]
    paths = paths_of(network, start)
    moved = adapted(network, Normals(2), stacked(network, 2), [paths], 0.05, learns=False)
    for model in range(2):
        own = network_of()
        logs = Normals(2).log_probability(own(paths.observations[model]), paths.actions[model])
        (-(logs * paths.advantages[model]).mean()).backward()
        with torch.no_grad():
            for each in own.parameters():
                each -= 0.05 * each.grad
        expected = own(paths.observations[model]).detach()
        found = outputs_of(network, moved, paths.observations)[model]
        assert torch.allclose(found, torch.cat([expected[:, :2], expected[:, 2:].clamp(min=LEAST_SPREAD)], 1))


def test_the_policy_learns_through_its_adaptation() -> None:
    """The slope of equation 2 with the step of equation 3 in it is what small changes of a weight say."""
    network = network_of()
    before = paths_of(network, stacked(network, 2))
    weights = adapted(network, Normals(2), stacked(network, 2), [before], 0.1, learns=False)
    after = paths_of(network, weights)

    def lost() -> Any:
        moved = adapted(network, Normals(2), stacked(network, 2), [before], 0.1, learns=True)
        return outer_loss(network, Normals(2), moved, after, clip=0.5, divergence=0.3, entropy=0.1)[0]

    lost().backward()
    weight = network[0].weight
    for place in ((0, 0), (3, 2)):
        with torch.no_grad():
            weight[place] += 1e-6
        more = float(lost().detach())
        with torch.no_grad():
            weight[place] -= 2e-6
        less = float(lost().detach())
        with torch.no_grad():
            weight[place] += 1e-6
        assert float(weight.grad[place]) == pytest.approx((more - less) / 2e-6, rel=1e-3, abs=1e-8)


def test_the_outer_loss_is_clipped_as_ppos() -> None:
    network = network_of()
    paths = paths_of(network, stacked(network, 2))
    with torch.no_grad():
        for each in network.parameters():
            each += 0.1 * torch.randn_like(each)
    weights = stacked(network, 2)
    found, moved = outer_loss(network, Normals(2), weights, paths, clip=0.2, divergence=0.3, entropy=0.1)
    outputs, gains, clipped = outputs_of(network, weights, paths.observations), [], 0
    for model in range(2):
        for row in range(6):
            log = Normals(2).log_probability(outputs[model], paths.actions[model])[row]
            ratio = float((log - paths.log_probabilities[model, row]).exp().detach())
            advantage = float(paths.advantages[model, row])
            bounded = min(1.2, max(0.8, ratio))
            clipped += bounded != ratio
            gains.append(min(ratio * advantage, bounded * advantage))
    entropy = float(Normals(2).entropy(outputs.flatten(0, 1)).mean().detach())
    expected = -np.mean(gains) + 0.3 * float(moved) - 0.1 * entropy
    assert float(found.detach()) == pytest.approx(expected, rel=1e-6)
    assert clipped > 0
    losses = inner_loss(network, Normals(2), weights, paths)
    assert losses.shape == (2,)


def test_models_learn_what_follows_each_by_itself() -> None:
    torch.manual_seed(0)
    seen, acted = torch.randn(400, 3) * torch.tensor([1.0, 50.0, 0.1]), torch.rand(400, 1) * 2 - 1
    then = seen + torch.cat([acted, 3 * seen[:, :1], 0.01 * acted], 1)
    then += 0.2 * torch.randn(400, 3) * torch.tensor([0.6, 3.0, 0.006])  # a fifth of it is by chance
    model = DynamicsEnsemble(4, 3, 1, (32,))
    epochs, error = fit(
        model, (seen, acted, then), np.random.default_rng(0), epochs=150, batch=128, lr=1e-2, held_out=0.2
    )
    assert epochs < 150, "it ends when what was held out gets no better"
    assert error < 0.15
    found = model(seen, acted).detach()
    assert found.shape == (4, 400, 3)
    assert not torch.allclose(found[0], found[1], atol=1e-5), "models are different"
    apart = model(seen.expand(4, -1, -1), acted.expand(4, -1, -1)).detach()
    assert torch.allclose(found, apart, atol=1e-4)
    assert (found[:, :, 1] - then[:, 1]).abs().mean() < 2.0


def test_play_in_models_is_what_models_say() -> None:
    """With a model that adds the action to the first number, and pays for it."""
    model = DynamicsEnsemble(2, 3, 2, (4,))
    with torch.no_grad():
        for each in model.parameters():
            each.zero_()
        model.output_mean.copy_(
            torch.tensor([0.0, 1.0, 0.0])
        )  # whatever is done the second number grows by 1
    network = network_of(torch.float32)
    begins = torch.zeros(2, 5, 3)
    begins[1] = 7.0
    space = PointMass().action_space
    paths, mean = play_in_models(
        model,
        network,
        stacked(network, 2),
        begins,
        4,
        reward=lambda seen, acted, then: then[:, 1],
        actions=Actions(space),
        gamma=1.0,
        lambda_=1.0,
    )
    assert paths.observations.shape == (2, 4 * 5, 3)
    assert paths.observations[1, :, 1].tolist() == [7.0] * 5 + [8.0] * 5 + [9.0] * 5 + [10.0] * 5
    assert mean == pytest.approx(((1 + 2 + 3 + 4) + (8 + 9 + 10 + 11)) / 2)
    logs = Normals(2).log_probability(
        outputs_of(network, stacked(network, 2), paths.observations), paths.actions
    )
    assert torch.allclose(logs.detach(), paths.log_probabilities, atol=1e-5)
    assert paths.advantages.mean(1).abs().max() < 1e-4


def test_a_checkpoint_goes_on_exactly(tmp_path: Path) -> None:
    algorithm = config().build()
    algorithm.train()
    algorithm.train()
    other = config().debugging(seed=9).build()
    other.restore(algorithm.save(tmp_path))
    begun = algorithm._own.reset(seed=3)[0], other._own.reset(seed=3)[0]
    assert (begun[0] == begun[1]).all()
    for each in (algorithm, other):
        torch.manual_seed(0)
        each._improve()
    weights = [torch.nn.utils.parameters_to_vector(each.module.parameters()) for each in (algorithm, other)]
    assert torch.equal(*weights)
    seen = np.zeros(4, np.float32)
    acts = [each.compute_single_action(seen, explore=False) for each in (algorithm, other)]
    assert (acts[0] == acts[1]).all()


@pytest.mark.processes
def test_runners_that_are_actors_play_adapted_policies() -> None:
    with shoal.init(num_cpus=2):
        algorithm = config(num_maml_steps=1).env_runners(num_env_runners=2).build()
        try:
            for _ in range(2):
                result = algorithm.train()
            assert result["num_env_steps_sampled_lifetime"] == 250 + 3 * 84
        finally:
            algorithm.stop()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"horizon": 0}, "horizon must be a whole number ≥ 1"),
        ({"inner_lr": -1}, "inner_lr must be a number ≥ 0"),
        ({"dynamics_model": {"layers": 3}}, "dynamics_model must be a mapping of ensemble_size"),
        ({"dynamics_model": {"ensemble_size": 0}}, "ensemble_size must be a whole number ≥ 1"),
        ({"dynamics_model": {"valid_split_ratio": 1}}, "valid_split_ratio must be from 0 to less than 1"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        MBMPOConfig().training(**wrong)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ConfigError, match=r"needs an environment with a method reward\("):
        config(Centre).build()
    with pytest.raises(ConfigError, match="MBMPO takes actions of Box"):
        config(Corridor).build()
    with pytest.raises(ConfigError, match=r"gave the shape \(30, 1\) for 30 transitions"):
        config(Sliding).build().train()
