"""What Stable-Baselines3 does with the same environment, network and settings, in one process."""

from __future__ import annotations

import time
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
BATCH = 4000
ENVIRONMENTS = 8
HIDDEN = (64, 64)
SETTINGS = {"gamma": 0.99, "lr": 3e-4}
EPOCHS = 10
MINIBATCH = 128


def made() -> Any:
    """Return SB3's PPO for CartPole."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)  # quicker than two, for networks as small as this
    return PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=ENVIRONMENTS),
        learning_rate=SETTINGS["lr"],
        n_steps=BATCH // ENVIRONMENTS,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        gamma=SETTINGS["gamma"],
        policy_kwargs={"net_arch": list(HIDDEN)},
        device="cpu",
        seed=1,
    )


@ROWS.row("Stable-Baselines3: PPO on CartPole, steps", seconds=180)
def ppo_steps(bench: Bench) -> Reading:
    """Steps of environments a second, with the learning from them."""
    model = made()
    model.learn(BATCH)
    iterations = bench.size(4, 1)
    began = time.perf_counter()
    model.learn(BATCH * iterations, reset_num_timesteps=False)
    return Reading(BATCH * iterations / (time.perf_counter() - began))
