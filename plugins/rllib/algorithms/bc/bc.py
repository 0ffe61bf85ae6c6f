"""BC: do what was done, learned as one learns what pictures show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.marwil.marwil import MARWIL
from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig
from shoal.rllib.offline.config import OfflineSettings, offline_families


class BC(MARWIL):
    """Behaviour cloning: MARWIL where all actions count alike, and nothing is valued.

    Example: `BCConfig().environment("CartPole-v1").offline_data(input_="episodes").build().train()`
    """


class BCConfig(OfflineSettings):
    """Settings of behaviour cloning: those of all algorithms that do not play.

    Example: `BCConfig().environment("CartPole-v1").offline_data(input_="episodes").training(lr=1e-3)`
    """

    algo_class = BC
    families: Mapping[str, Mapping[str, Any]] = offline_families(
        OffPolicyConfig.families, targets=False, lr=1e-4, train_batch_size=2000
    )
