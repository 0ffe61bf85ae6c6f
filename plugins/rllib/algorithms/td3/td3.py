"""TD3: DDPG with twin values, a policy that learns later, and smooth targets (Fujimoto et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.ddpg import DDPG, DDPGConfig

_DEFAULTS: dict[str, Any] = {"twin_q": True, "policy_delay": 2, "smooth_target_policy": True}


class TD3(DDPG):
    """Twin delayed DDPG.

    Example: `TD3Config().environment("Pendulum-v1").build().train()["episode_reward_mean"]`
    """


class TD3Config(DDPGConfig):
    """Settings of TD3: those of DDPG, with `twin_q`, `policy_delay=2` and `smooth_target_policy`.

    Example: `TD3Config().environment("Pendulum-v1").training(actor_lr=1e-3, critic_lr=1e-3)`
    """

    algo_class = TD3
    families: Mapping[str, Mapping[str, Any]] = {
        **DDPGConfig.families,
        "training": {**DDPGConfig.families["training"], **_DEFAULTS},
    }
