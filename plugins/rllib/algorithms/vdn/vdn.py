"""VDN: the team's value is the sum of its agents' values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.qmix import QMIX, QMIXConfig


class VDN(QMIX):
    """Value decomposition networks (Sunehag et al., 2018).

    Example: `VDNConfig().environment(TwoStepGame).build().train()["episode_reward_mean"]`
    """


class VDNConfig(QMIXConfig):
    """Settings of VDN: those of QMIX, with a sum for a mixer.

    Example: `VDNConfig().environment(TwoStepGame).training(max_seq_len=2).build()`
    """

    algo_class = VDN
    families: Mapping[str, Mapping[str, Any]] = {
        **QMIXConfig.families,
        "training": {**QMIXConfig.families["training"], "mixer": "vdn"},
    }
