"""Spaces, wrappers of games, numbers that are logged, distributions, small functions."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from shoal.errors import ConfigError
from shoal.rllib.annotations import OverrideToImplementCustomLogic, is_overridden, override
from shoal.rllib.core.distribution.torch_distribution import (
    TorchDeterministic,
    TorchMultiDistribution,
    TorchSquashedGaussian,
    get_torch_distribution_class,
)
from shoal.rllib.errors import NotSerializable
from shoal.rllib.imports import is_package_installed, try_import_tf, try_import_torch
from shoal.rllib.metrics.metrics_logger import MetricsLogger
from shoal.rllib.spaces.flexdict import FlexDict
from shoal.rllib.spaces.repeated import Repeated
from shoal.rllib.spaces.serialization import (
    check_if_args_kwargs_serializable,
    deserialize_type,
    serialize_type,
    space_from_dict,
    space_to_dict,
)
from shoal.rllib.spaces.simplex import Simplex
from shoal.rllib.spaces.space_values import (
    batch,
    clip_action,
    get_dummy_batch_for_space,
    normalize_action,
    unbatch,
    unsquash_action,
)
from shoal.rllib.tensors import arrays, torch_tensors
from shoal.rllib.wrappers.atari_wrappers import (
    FrameStack,
    MaxAndSkipEnv,
    MonitorEnv,
    get_wrapper_by_cls,
    wrap_deepmind,
)

SPACES = [
    spaces.Discrete(3, start=1),
    spaces.Box(-1.0, 2.0, (2, 3), np.float32),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
    spaces.Text(4),
    Simplex((3,)),
    Repeated(spaces.Discrete(2), 4),
    FlexDict(a=spaces.Discrete(2)),
    spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple([spaces.Box(0, 1, (1,)), spaces.Discrete(2)])}),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_spaces_are_written_and_read(space: Any) -> None:
    again = space_from_dict(space_to_dict(space))
    assert type(again) is type(space)
    for _ in range(5):
        assert again.contains(space.sample())


def test_points_of_a_simplex_add_up_to_one() -> None:
    space = Simplex((2, 4), concentration=np.array([1.0, 2.0, 3.0, 4.0]))
    space.seed(1)
    drawn = np.stack([space.sample() for _ in range(500)])
    assert np.allclose(drawn.sum(-1), 1.0, atol=1e-5)
    assert np.allclose(drawn.mean((0, 1)), [0.1, 0.2, 0.3, 0.4], atol=0.03)
    assert not space.contains(np.full((2, 4), 0.5))
    assert space.from_jsonable(space.to_jsonable([drawn[0]]))[0].shape == (2, 4)
    with pytest.raises(ValueError, match="concentration must have 3 numbers"):
        Simplex((3,), concentration=[1.0])


def test_actions_are_moved_between_bounds() -> None:
    space = spaces.Dict({"a": spaces.Box(0.0, 4.0, (2,)), "b": spaces.Discrete(3)})
    action = {"a": np.array([-1.0, 0.5]), "b": 2}
    moved = unsquash_action(action, space)
    assert list(moved["a"]) == [0.0, 3.0]
    assert list(normalize_action(moved, space)["a"]) == [-1.0, 0.5]
    assert list(clip_action({"a": np.array([-3.0, 9.0]), "b": 1}, space)["a"]) == [0.0, 4.0]
    made = batch([space.sample() for _ in range(3)])
    assert made["a"].shape == (3, 2)
    assert len(unbatch(made)) == 3
    assert get_dummy_batch_for_space(space, 2, time_size=5)["a"].shape == (2, 5, 2)
    with pytest.raises(ValueError, match="the list is empty"):
        batch([])


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.Box(-1, 1, (2,)),
        spaces.MultiDiscrete([2, 3]),
        spaces.Dict(
            {"a": spaces.Discrete(2), "b": spaces.Tuple([spaces.Box(0, 1, (2,)), spaces.Discrete(3)])}
        ),
    ],
    ids=str,
)
def test_distributions_of_all_spaces_of_actions(space: Any) -> None:
    kind = get_torch_distribution_class(space)
    torch.manual_seed(1)
    logits = torch.randn(5, kind.required_input_dim(space))
    made = kind.from_logits(logits)
    action = made.sample()
    assert made.logp(action).shape == (5,)
    assert made.entropy().shape == (5,)
    assert torch.allclose(made.kl(kind.from_logits(logits)), torch.zeros(5), atol=1e-5)
    assert (made.kl(kind.from_logits(logits + torch.randn_like(logits))) > 0).all()
    best = made.to_deterministic().sample()
    for row in unbatch(torch_tensors.optree.tree_map(lambda leaf: leaf.numpy(), best)):
        assert type(row) is type(unbatch(torch_tensors.optree.tree_map(lambda leaf: leaf.numpy(), action))[0])


def test_squashed_numbers_have_the_density_of_their_histogram() -> None:
    torch.manual_seed(1)
    made = TorchSquashedGaussian(torch.tensor([[0.3]]), torch.tensor([[0.6]]), low=-2.0, high=3.0)
    drawn = made.sample(sample_shape=(40_000,)).reshape(-1)
    counts, edges = np.histogram(drawn.numpy(), bins=20, range=(-2, 3), density=True)
    middles = torch.tensor((edges[1:] + edges[:-1]) / 2, dtype=torch.float32)[:, None]
    assert np.allclose(counts, torch.exp(made.logp(middles)).numpy(), atol=0.03)
    with pytest.raises(TypeError, match="no closed form"):
        made.entropy()
    partial = TorchSquashedGaussian.get_partial_dist_cls(low=-2.0, high=3.0)
    assert partial.from_logits(torch.zeros(1, 2)).high == 3.0
    with pytest.raises(ValueError, match="low were given already"):
        partial.from_logits(torch.zeros(1, 2), low=0.0)


def test_other_spaces_and_ends_are_refused() -> None:
    with pytest.raises(ConfigError, match="actions must be Discrete"):
        get_torch_distribution_class(spaces.Text(3))
    with pytest.raises(TypeError, match="no divergence"):
        TorchDeterministic(torch.zeros(1)).kl(TorchDeterministic(torch.zeros(1)))
    assert TorchMultiDistribution.required_input_dim(spaces.Tuple([spaces.Discrete(2)])) == 2


def test_numbers_are_logged_reduced_and_put_together() -> None:
    runners = [MetricsLogger(), MetricsLogger()]
    root = MetricsLogger(root=True)
    for number, runner in enumerate(runners):
        for value in (1.0, 3.0):
            runner.log_value("mean", value + number, reduce="mean", window=10)
            runner.log_value(("deep", "sum"), value, reduce="sum")
            runner.log_value("ever", value, reduce="lifetime_sum", with_throughput=True)
            runner.log_dict({"low": value, "high": {"x": value}}, reduce="max")
            runner.log_value("all", value, reduce="item_series")
        with runner.log_time("seconds"):
            pass
    told = [pickle.loads(pickle.dumps(runner.reduce(compile=False))) for runner in runners]
    root.aggregate(told, key="runners")
    assert root.peek(("runners", "mean")) == 2.5
    assert root.peek(("runners", "deep", "sum")) == 8.0
    assert root.peek(("runners", "ever")) == 8.0
    assert root.peek(("runners", "high", "x")) == 3.0
    assert sorted(root.peek(("runners", "all"))) == [1.0, 1.0, 3.0, 3.0]
    assert root.peek(("runners", "seconds")) >= 0
    assert ("runners", "mean") in root
    assert root.compile()["runners"]["ever_throughput"]["throughput_since_last_restore"] > 0
    assert root.peek(("runners", "deep", "sum")) == 0.0
    runners[0].log_value("ever", 2.0)
    root.aggregate([runners[0].reduce(compile=False)], key="runners")
    assert root.peek(("runners", "ever")) == 10.0
    again = MetricsLogger(root=True)
    again.set_state(pickle.loads(pickle.dumps(root.get_state())))
    assert again.peek(("runners", "ever")) == 10.0
    root.delete("runners", "mean")
    with pytest.raises(KeyError, match="nothing is logged"):
        root.peek(("runners", "mean"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reduce": "middle"}, "reduce must be one of mean, ema"),
        ({"window": 2, "ema_coeff": 0.1}, "window or ema_coeff"),
        ({"reduce": "mean", "window": 0}, "window must be at least 1"),
        ({"reduce": "max", "with_throughput": True}, "with_throughput is for"),
        ({"often": True}, "often: there is no such setting"),
    ],
)
def test_wrong_settings_of_numbers_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        MetricsLogger().log_value("x", 1.0, **settings)


class Game(gymnasium.Env[Any, Any]):
    """Pictures whose points are the step's number; two lives, one lost at the fifth step."""

    observation_space = spaces.Box(0, 255, (210, 160, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE", "UP"]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._seen()

    def _seen(self) -> tuple[Any, dict[str, Any]]:
        return np.full((210, 160, 3), self.steps, np.uint8), {"lives": 2 if self.steps < 40 else 1}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        seen, told = self._seen()
        return seen, 5.0, self.steps >= 60, False, told


def test_games_are_small_grey_stacked_and_clipped() -> None:
    env = wrap_deepmind(Game(), dim=42)
    seen, _ = env.reset(seed=1)
    assert seen.shape == (42, 42, 4)
    assert seen.dtype == np.uint8
    ended = 0
    for _ in range(100):
        _, reward, terminated, _, _ = env.step(2)
        assert reward == 1.0
        ended += terminated
        if terminated:
            env.reset()
    monitor = get_wrapper_by_cls(env, MonitorEnv)
    assert ended > len(monitor.get_episode_rewards()) > 0  # lives end episodes, games end less often
    assert next(iter(monitor.next_episode_results())) == (300.0, 60)
    skipping = MaxAndSkipEnv(Game(), skip=4)
    skipping.reset()
    assert skipping.step(0)[1] == 20.0
    stacked = FrameStack(Game(), 2)
    stacked.reset()
    assert stacked.step(0)[0].max() == 1


def test_small_functions_agree_with_torch() -> None:
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    assert np.allclose(arrays.softmax(x), torch.softmax(torch.tensor(x), -1).numpy(), atol=1e-5)
    assert np.allclose(
        arrays.huber_loss(x),
        torch.nn.functional.huber_loss(torch.tensor(x), torch.zeros(4, 3), reduction="none"),
    )
    cell = torch.nn.LSTM(3, 5, batch_first=True)
    i, f, g, o = (
        part.T.detach().numpy() for part in torch.cat([cell.weight_ih_l0, cell.weight_hh_l0], 1).chunk(4)
    )
    bi, bf, bg, bo = (cell.bias_ih_l0 + cell.bias_hh_l0).detach().numpy().reshape(4, 5)
    steps = np.random.default_rng(2).normal(size=(2, 6, 3)).astype(np.float32)
    ours, _ = arrays.lstm(
        steps, np.concatenate([i, g, f, o], 1), np.concatenate([bi, bg, bf, bo]), forget_bias=0.0
    )
    assert np.allclose(ours, cell(torch.tensor(steps))[0].detach().numpy(), atol=1e-5)
    assert arrays.aligned_array(7, np.float32).ctypes.data % 64 == 0
    assert list(arrays.one_hot_multidiscrete(np.array([[0, 1]]), [2, 2])[0]) == [1, 0, 0, 1]


def test_gradients_are_bounded_in_three_ways() -> None:
    def gradients() -> dict[str, Any]:
        return {"a": torch.full((4,), 3.0), "b": torch.full((1,), 8.0), "none": None}

    whole = gradients()
    assert float(
        torch_tensors.clip_gradients(whole, grad_clip=1.0, grad_clip_by="global_norm")
    ) == pytest.approx(10)
    assert float(torch_tensors.global_norm([whole["a"], whole["b"]])) == pytest.approx(1, abs=1e-4)
    each = gradients()
    torch_tensors.clip_gradients(each, grad_clip=2.0, grad_clip_by="norm")
    assert float(each["a"].norm()) == pytest.approx(2, abs=1e-4)
    number = gradients()
    torch_tensors.clip_gradients(number, grad_clip=1.0)
    assert float(number["b"]) == 1.0
    with pytest.raises(ConfigError, match="grad_clip_by must be"):
        torch_tensors.clip_gradients(gradients(), grad_clip=1.0, grad_clip_by="length")


def test_numbers_in_two_buckets_are_the_numbers() -> None:
    values = torch.tensor([-30.0, -3.3, 0.0, 7.7, 30.0])
    weights = torch_tensors.two_hot(values, 41, -20.0, 20.0)
    assert torch.allclose(weights.sum(-1), torch.ones(5))
    assert torch.allclose(weights @ torch.linspace(-20, 20, 41), values.clamp(-20, 20), atol=1e-4)
    assert torch.allclose(torch_tensors.inverse_symlog(torch_tensors.symlog(values)), values, rtol=1e-4)


class Parent:
    """A class whose method is meant to be overridden."""

    @OverrideToImplementCustomLogic
    def act(self) -> int:
        return 1


class Child(Parent):
    """One that does."""

    @override(Parent)
    def act(self) -> int:
        return 2


def test_what_is_overridden_is_known() -> None:
    assert not is_overridden(Parent().act)
    assert is_overridden(Child().act)
    with pytest.raises(NameError, match="acts does not override"):

        @override(Parent)
        def acts() -> None: ...


def test_frameworks_that_are_there_are_given() -> None:
    assert try_import_torch()[0] is torch
    assert (try_import_tf()[0] is None) == (not is_package_installed("tensorflow"))
    assert deserialize_type(serialize_type(Child)) is Child
    with pytest.raises(ConfigError, match="is no class"):
        deserialize_type("nowhere.Nothing", error=True)
    with pytest.raises(NotSerializable, match="argument 'lock' cannot be sent"):
        check_if_args_kwargs_serializable((1,), {"lock": threading.Lock()})
