"""Policies are taken out of algorithms: what they do, their weights, and programs that run without Shoal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shoal.errors import ConfigError
from shoal.rllib.algorithms.dqn import DQNConfig
from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.algorithms.qmix import QMIXConfig
from shoal.rllib.algorithms.sac import SACConfig
from shoal.rllib.examples import TwoStepGame

SEEN = np.array([[0.1, -0.2, 0.03, 0.4], [1.0, 0.0, -0.1, 0.2]], np.float32)


@pytest.mark.parametrize("config", [PPOConfig, DQNConfig, SACConfig])
def test_a_policy_is_a_program_of_torchs(config: Any, tmp_path: Path) -> None:
    algorithm = config().environment("CartPole-v1").debugging(seed=1).build()
    try:
        policy = algorithm.get_policy()
        actions = policy.compute_actions(list(SEEN), explore=False)[0]
        path = algorithm.export_policy_model(tmp_path / "model")
        program = torch.export.load(path).module()
        given = program(torch.tensor(np.repeat(SEEN, 4, axis=0)))  # any number of rows
        inputs = given[0] if isinstance(given, (tuple, list)) else given
        if inputs.dim() == 3:  # values of distributions of returns
            inputs = inputs.mean(-1)
        assert inputs[::4].argmax(-1).tolist() == actions
        about = json.loads((tmp_path / "model" / "model.json").read_text())
        assert about["flat_size"] == 4
        assert about["actions"] == {"space": "discrete", "n": 2, "start": 0}
        weights = policy.get_weights()
        kept = torch.load(algorithm.export_policy_checkpoint(tmp_path), weights_only=True)
        assert set(kept) == set(weights)
        policy.set_weights({name: np.zeros_like(value) for name, value in weights.items()})
        assert not any(value.any() for value in policy.get_weights().values())
        with pytest.raises(ConfigError, match="there is no policy 'other'"):
            algorithm.get_policy("other")
    finally:
        algorithm.stop()


def test_what_is_no_one_network_is_told() -> None:
    algorithm = QMIXConfig().environment(TwoStepGame).build()
    try:
        with pytest.raises(ConfigError, match="is no one network"):
            algorithm.get_policy().network()
    finally:
        algorithm.stop()
