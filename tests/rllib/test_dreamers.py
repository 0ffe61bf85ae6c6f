"""DreamerV3 and Dreamer: scales, latent states, losses against the papers, streams, learning, checkpoints, settings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import Corridor
from small_environments import Centre, Forever

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.dreamer import DreamerConfig
from shoal.rllib.algorithms.dreamer import loss as first_loss
from shoal.rllib.algorithms.dreamerv3 import DreamerV3Config
from shoal.rllib.algorithms.dreamerv3 import loss as third_loss
from shoal.rllib.sampling.runner import Play
from shoal.rllib.tensors.torch_tensors import inverse_symlog, symlog
from shoal.rllib.world_models.heads import BoundedNormalHead, ChoiceHead, SquashedHead
from shoal.rllib.world_models.imagination import imagined, lambda_returns
from shoal.rllib.world_models.latents import CategoricalLatents, NormalLatents
from shoal.rllib.world_models.policy import WorldPolicy
from shoal.rllib.world_models.sequences import SequenceBuffer, SequenceRunner
from shoal.rllib.world_models.symlog import TwoHot

THIRD: dict[str, Any] = {
    "model_size": "nano",
    "training_ratio": 64,
    "world_model_lr": 3e-3,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "batch_length_T": 8,
    "gamma": 0.95,
    "horizon_H": 8,
    "num_steps_sampled_before_learning_starts": 200,
    "replay_buffer_config": {"capacity": 5000},
}
FIRST: dict[str, Any] = {
    "td_model_learning_rate": 3e-3,
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "batch_length": 8,
    "batch_size": 16,
    "gamma": 0.95,
    "imagine_horizon": 5,
    "prefill_timesteps": 200,
    "dreamer_train_iters": 20,
    "free_nats": 1.0,
    "dreamer_model": {"deter_size": 16, "stoch_size": 4, "hidden_size": 24, "action_init_std": 1.0},
}


def third(env: Any = Corridor, **training: Any) -> DreamerV3Config:
    made = DreamerV3Config().environment(env).training(**{**THIRD, **training}).debugging(seed=1)
    return made.reporting(min_sample_timesteps_per_iteration=200).evaluation(evaluation_duration=10)


def first(env: Any = Centre, **training: Any) -> DreamerConfig:
    made = DreamerConfig().environment(env).training(**{**FIRST, **training}).debugging(seed=1)
    made.env_runners(rollout_fragment_length=50)
    return made.reporting(min_sample_timesteps_per_iteration=200).evaluation(evaluation_duration=10)


@pytest.mark.parametrize(("env", "iterations", "reached"), [(Corridor, 5, 0.59), (Centre, 8, -2.0)])
def test_it_learns_in_what_it_imagines(env: Any, iterations: int, reached: float) -> None:
    """Choices and real numbers; the best returns are 0.6 and about -0.4, those of chance are -1.7 and -5.5."""
    algorithm = third(env).build()
    for _ in range(iterations):
        result = algorithm.train()
    assert algorithm.evaluate()["episode_reward_mean"] > reached
    assert result["num_env_steps_sampled_lifetime"] == 200 * iterations
    told = result["learners"]["default_policy"]["num_module_steps_trained_lifetime"]
    assert told == pytest.approx(64 * 200 * (iterations - 1), rel=0.1), "the ratio of training"


def test_the_first_dreamer_learns_too() -> None:
    algorithm = first().build()
    for _ in range(9):
        algorithm.train()
    assert algorithm.evaluate()["episode_reward_mean"] > -2.5


def test_symlog_and_two_hot_are_the_papers() -> None:
    values = torch.tensor([-300.0, -1.5, 0.0, 0.3, 7.0, 4000.0])
    assert symlog(values).tolist() == pytest.approx(
        [math.copysign(math.log1p(abs(v)), v) for v in values.tolist()]
    )
    assert torch.allclose(inverse_symlog(symlog(values)), values, rtol=1e-5)
    hot = TwoHot(41, -10.0, 10.0)
    encoded = hot.encoded(values)
    assert torch.allclose(encoded.sum(-1), torch.ones(6))
    assert ((encoded > 0).sum(-1) <= 2).all()
    assert torch.allclose(hot.mean(encoded.clamp(min=1e-12).log()), values, rtol=1e-3, atol=1e-4)
    logits = torch.randn(6, 41)
    by_definition = -(encoded * torch.log_softmax(logits, -1)).sum(-1)
    assert torch.allclose(hot.loss(logits, values), by_definition, atol=1e-4)
    beyond = torch.tensor([1e9, -1e9])
    assert torch.allclose(
        hot.loss(logits[:2], beyond), -torch.log_softmax(logits[:2], -1)[[0, 1], [40, 0]], atol=1e-4
    )


def test_latent_choices_are_drawn_as_often_as_they_are_likely() -> None:
    torch.manual_seed(0)
    latents = CategoricalLatents(2, 3)
    outputs = torch.tensor([2.0, 0.0, -1.0, 0.0, 0.0, 3.0], requires_grad=True)
    wanted = 0.99 * torch.softmax(outputs.detach().reshape(2, 3), -1) + 0.01 / 3
    drawn = latents.sample(outputs.expand(20_000, 6))
    assert torch.allclose(drawn.detach().mean(0), wanted.flatten(), atol=0.015)
    assert set(drawn.detach().flatten().round(decimals=5).tolist()) == {0.0, 1.0}
    [slopes] = torch.autograd.grad(drawn[:, 0].sum(), outputs)
    assert slopes[0] > 0, "gradients go straight through"
    others = torch.randn(6)
    theirs = 0.99 * torch.softmax(others.reshape(2, 3), -1) + 0.01 / 3
    expected = (wanted * (wanted.log() - theirs.log())).sum()
    assert float(latents.divergence(outputs.detach(), others)) == pytest.approx(float(expected), rel=1e-4)


def test_normal_latents_are_torchs() -> None:
    latents = NormalLatents(3)
    a, b = torch.randn(5, 6), torch.randn(5, 6)
    normals = [torch.distributions.Normal(*latents.parts(each)) for each in (a, b)]
    expected = torch.distributions.kl_divergence(*normals).sum(-1)
    assert torch.allclose(latents.divergence(a, b), expected, atol=1e-5)


def test_heads_are_the_distributions_they_say() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(4, 3)
    choice = ChoiceHead(3)
    chances = 0.99 * torch.softmax(outputs, -1) + 0.01 / 3
    one = torch.eye(3)[[0, 2, 1, 1]]
    assert torch.allclose(choice.log_probability(outputs, one), (chances * one).sum(-1).log(), atol=1e-5)
    assert torch.allclose(choice.entropy(outputs), -(chances * chances.log()).sum(-1), atol=1e-5)
    bounded, outputs = BoundedNormalHead(1), torch.tensor([[0.4, 0.3]])
    places = torch.linspace(-0.9999, 0.9999, 4001)[:, None]
    inside = float(torch.trapezoid(bounded.log_probability(outputs, places).exp(), places[:, 0]))
    ends = bounded.log_probability(outputs, torch.tensor([[-1.0], [1.0]])).exp().sum()
    assert inside + float(ends) == pytest.approx(1.0, abs=2e-3), "what is cut off is at the ends"
    squashed = SquashedHead(1, spread=0.8)
    inside = float(torch.trapezoid(squashed.log_probability(outputs, places).exp(), places[:, 0]))
    assert inside == pytest.approx(1.0, abs=0.01)


def test_returns_are_the_papers_recursion() -> None:
    rewards, goings, values = torch.randn(4, 3), torch.rand(4, 3), torch.randn(4, 3)
    found = lambda_returns(rewards, goings, values, 0.8)
    for row in range(3):
        later = float(values[3, row])
        for step in (3, 2, 1, 0):
            later = float(rewards[step, row] + goings[step, row] * (0.2 * values[step, row] + 0.8 * later))
            assert float(found[step, row]) == pytest.approx(later, abs=1e-5)


def batch_of(algorithm: Any) -> dict[str, Any]:
    algorithm.train()
    made: dict[str, Any] = algorithm.tensors(algorithm.buffer.sample(64))
    return made


def test_the_models_losses_are_the_papers() -> None:
    """Equations 4 and 5 of DreamerV3, and 10 of Dreamer, summed up step by step."""
    for config, latents, loss in (
        (third(), CategoricalLatents(4, 4), third_loss.world_loss),
        (first(), NormalLatents(4), first_loss.world_loss),
    ):
        algorithm = config.build()
        module, batch = algorithm.module, batch_of(algorithm)
        given: dict[str, Any] = {"free": 0.2, "weight": 0.7}
        if loss is third_loss.world_loss:
            given = {"free": 0.2, "dynamics": 0.5, "representation": 0.1, "scaled": symlog}
        torch.manual_seed(5)
        found, states, _ = loss(module, batch, **given)  # type: ignore[operator]
        torch.manual_seed(5)
        seen = batch["observations"] if "weight" in given else symlog(batch["observations"])
        with torch.no_grad():
            after, posterior, prior = module["space"].observe(
                module["encoder"](seen), batch["actions"], batch["first"]
            )
            assert torch.allclose(after, states.detach(), atol=1e-5)
            total, divergences = 0.0, []
            rows, steps = batch["rewards"].shape
            for row in range(rows):
                for step in range(steps):
                    state = after[row, step]
                    image = 0.5 * float((module["decoder"](state) - seen[row, step]).square().sum())
                    going = float(torch.sigmoid(module["going"](state)))
                    ended = float(batch["terminated"][row, step])
                    image -= math.log(1 - going if ended else going)
                    guess, reward = module["reward"](state), batch["rewards"][row, step]
                    if "weight" in given:
                        image += 0.5 * float(guess[0] - reward) ** 2
                    else:
                        image += float(TwoHot().loss(guess, reward))
                    total += image / (rows * steps)
                    divergences.append(float(latents.divergence(posterior[row, step], prior[row, step])))
        if "weight" in given:
            total += 0.7 * max(0.2, float(np.mean(divergences)))
        else:
            total += (0.5 + 0.1) * float(np.mean([max(0.2, each) for each in divergences]))
        assert float(found.detach()) == pytest.approx(total, rel=1e-3)


def test_each_side_of_the_divergence_moves_what_it_is_to_move() -> None:
    algorithm = third().build()
    batch, module = batch_of(algorithm), algorithm.module
    for dynamics, representation, moved in ((1.0, 0.0, True), (0.0, 1.0, False)):
        module.zero_grad(set_to_none=True)
        loss, *_ = third_loss.world_loss(
            module, batch, symlog, free=0.0, dynamics=dynamics, representation=representation
        )
        loss.backward()
        slopes = [each.grad for each in module["space"].prior.parameters()]
        assert any(each is not None and bool(each.abs().sum() > 0) for each in slopes) is moved


def test_the_policys_and_the_values_losses_are_the_papers() -> None:
    algorithm = third().build()
    module, head = algorithm.module, algorithm.head
    torch.manual_seed(0)
    states, actions = imagined(module, head, torch.randn(5, module["space"].size), 3, through=False)
    alive = torch.tensor([1.0, 1, 1, 0, 1])
    returns, values, weights = third_loss.expected(module, states, alive, 0.9, 0.95)
    assert (weights[:, 3] == 0).all(), "what begins after an end counts for nothing"
    advantages = returns - values
    loss, _ = third_loss.actor_loss(module, head, states[:-1], actions, advantages, weights, 0.1)
    value_loss = third_loss.critic_loss(module, states[:-1], returns, weights)
    gains, misses, hot = [], [], TwoHot()
    with torch.no_grad():
        for row in range(5):
            weight = float(alive[row])
            for step in range(3):
                outputs = module["actor"](states[step, row])
                chances = 0.99 * torch.softmax(outputs, -1) + 0.005
                log = float((chances * actions[step, row]).sum().log())
                entropy = -float((chances * chances.log()).sum())
                gains.append(weight * (float(advantages[step, row]) * log + 0.1 * entropy))
                logits = module["critic"](states[step, row])
                slow = hot.mean(module["critic_target"](states[step, row]))
                miss = hot.loss(logits, returns[step, row]) + hot.loss(logits, slow)
                misses.append(weight * float(miss))
                weight *= 0.9 * float(torch.sigmoid(module["going"](states[step + 1, row])))
    assert float(loss.detach()) == pytest.approx(-np.mean(gains), rel=1e-3)
    assert float(value_loss.detach()) == pytest.approx(np.mean(misses), rel=1e-3)


def test_gradients_of_the_first_dreamer_go_through_the_model() -> None:
    """The slope of the policy's loss is what small changes of its weights say."""
    algorithm = first().build()
    module = algorithm.module.double()
    begun = torch.randn(6, module["space"].size, dtype=torch.float64)

    def lost() -> Any:
        torch.manual_seed(7)
        states, _ = imagined(module, algorithm.head, begun, 1, through=True)
        returns, weights = first_loss.expected(module, states, torch.ones(6, dtype=torch.float64), 0.9, 0.95)
        return -(weights * returns).mean()

    weight = module["actor"][-1].bias
    lost().backward()
    slope = float(weight.grad[0])
    with torch.no_grad():
        weight[0] += 1e-5
        more = float(lost())
        weight[0] -= 2e-5
        less = float(lost())
    assert slope == pytest.approx((more - less) / 2e-5, rel=1e-3)
    assert slope != 0


def test_an_episodes_beginning_forgets_the_one_before() -> None:
    algorithm = third().build()
    space = algorithm.module["space"]
    embedded, actions = torch.randn(1, 6, 16), torch.randn(1, 6, 2)
    begins = torch.tensor([[0.0, 0, 0, 1, 0, 0]])
    torch.manual_seed(0)
    hidden = space.observe(embedded, actions, begins)[0][0, 3, : space.units]
    other = space.observe(torch.randn(1, 6, 16), torch.randn(1, 6, 2), begins)[0][0, 3, : space.units]
    assert torch.equal(hidden, other)


def play_of(env: Any, **settings: Any) -> Play:
    return Play(
        make=env,
        config=settings,
        count=1,
        gamma=0.9,
        lambda_=1.0,
        clip_rewards=None,
        clip_actions=False,
        seed=1,
    )


@pytest.mark.parametrize("terminates", [True, False])
def test_streams_have_the_last_observation_of_each_episode(terminates: bool) -> None:
    policy = WorldPolicy(None, ChoiceHead(2), uniform=True)
    got = SequenceRunner(play_of(Forever, terminates=terminates), 0).sample(policy, 5)
    stream = got["rows"][0]
    assert stream["first"].tolist() == [1, 0, 0, 1, 0, 0, 1]
    assert stream["rewards"].tolist() == [0, 1, 1, 0, 1, 1, 0]
    assert stream["terminated"].tolist() == ([0, 0, 1, 0, 0, 1, 0] if terminates else [0] * 7)
    assert stream["actions"].sum(1).tolist() == [1, 1, 0, 1, 1, 0, 1]
    assert got["steps"] == 5
    assert got["episodes"] == [(2.0, 2)] * 2


def test_sequences_are_pieces_of_streams() -> None:
    buffer = SequenceBuffer(40, 4, streams=2, seed=1)
    for begin in range(0, 35, 5):
        part = np.arange(begin, begin + 5)
        buffer.add(
            {7: {"step": part, "stream": part * 0 + 7}, 8: {"step": part + 100, "stream": part * 0 + 8}}
        )
    assert len(buffer) == 2 * 17, "twenty steps each, and a beginning of a sequence at seventeen of them"
    batch = buffer.sample(4 * 300)
    steps = batch["step"]
    assert (np.diff(steps, axis=1) == 1).all()
    assert set(steps[:, 0] % 100) == set(range(15, 32)), "the newest, from each beginning"
    assert (batch["stream"] == np.where(steps >= 100, 8, 7)).all()
    buffer.add({9: {"step": np.arange(9), "stream": np.full(9, 9)}})
    assert set(buffer.sample(4 * 300)["stream"].flatten()) == {8, 9}, "the oldest stream goes"
    other = SequenceBuffer(40, 4, streams=2, seed=5)
    other.set_state(buffer.state())
    assert (other.sample(80)["step"] == buffer.sample(80)["step"]).all()
    with pytest.raises(ValueError, match="no stream has 4 steps yet"):
        SequenceBuffer(40, 4, streams=2).sample(4)


@pytest.mark.parametrize("make", [third, first])
def test_a_checkpoint_goes_on_exactly(make: Any, tmp_path: Path) -> None:
    algorithm = make(store_buffer_in_checkpoints=True).build()
    algorithm.train()
    algorithm.train()
    other = make(store_buffer_in_checkpoints=True).debugging(seed=5).build()
    other.restore(algorithm.save(tmp_path))
    for each in (algorithm, other):
        torch.manual_seed(0)
        each.learn(each.tensors(each.buffer.sample(64)))
    weights = [torch.nn.utils.parameters_to_vector(each.module.parameters()) for each in (algorithm, other)]
    assert torch.equal(*weights)


@pytest.mark.processes
def test_runners_that_are_actors_give_streams() -> None:
    with shoal.init(num_cpus=2):
        config = third().env_runners(num_env_runners=2, num_envs_per_env_runner=2, rollout_fragment_length=10)
        algorithm = config.build()
        try:
            for _ in range(2):
                result = algorithm.train()
            assert result["num_env_steps_sampled_lifetime"] == 400
            assert result["learners"]["default_policy"]["num_module_steps_trained_lifetime"] > 0
        finally:
            algorithm.stop()


def test_what_it_remembers_may_be_kept_by_who_asks() -> None:
    algorithm = third().build()
    seen = np.zeros(1, np.float32)
    assert algorithm.compute_single_action(seen) in (0, 1)
    action, state = algorithm.compute_single_action(seen, state=algorithm.get_initial_state())
    again, later = algorithm.compute_single_action(seen, state=state)
    assert {action, again} <= {0, 1}
    assert not torch.equal(state[0], later[0])


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        (DreamerV3Config, {"model_size": "tiny"}, "model_size must be one of nano, micro"),
        (DreamerV3Config, {"batch_size_B": 0}, "batch_size_B must be a whole number"),
        (DreamerV3Config, {"training_ratio": -1}, "training_ratio must be a number ≥ 0"),
        (DreamerV3Config, {"train_actor": 1}, "train_actor must be True or False"),
        (DreamerV3Config, {"actor_grad_clip_by_global_norm": "x"}, "must be a number ≥ 0 or None"),
        (DreamerV3Config, {"lr": 1e-3}, "has no setting 'lr'"),
        (DreamerConfig, {"batch_length": 0}, "batch_length must be a whole number"),
        (DreamerConfig, {"free_nats": "x"}, "free_nats must be a number ≥ 0"),
        (DreamerConfig, {"dreamer_model": {"depth_size": 3}}, "dreamer_model has no setting depth_size"),
    ],
)
def test_wrong_settings_are_told(kind: Any, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        kind().training(**wrong)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ConfigError, match="Dreamer takes actions of Box"):
        first(Corridor).build()
    with pytest.raises(ConfigError, match="sequences are drawn uniformly"):
        third(replay_buffer_config={"type": "PrioritizedReplayBuffer"}).build()
    with pytest.raises(ConfigError, match="leaves each of 40 environments 125 steps"):
        third(batch_length_T=200).env_runners(num_envs_per_env_runner=40).build()
    with pytest.raises(ConfigError, match=r"are told by settings of training\(\)"):
        DreamerV3Config().rl_module(model_config={"fcnet_hiddens": [4]})
