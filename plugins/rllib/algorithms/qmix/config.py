"""The settings of QMIX and VDN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import MODEL
from shoal.rllib.algorithms.dqn.config import DQNConfig
from shoal.rllib.algorithms.off_policy.config import REPLAY, OffPolicyConfig
from shoal.rllib.algorithms.off_policy.schedule import checked
from shoal.rllib.algorithms.off_policy.team import TeamConfig
from shoal.rllib.replay.buffers import is_whole

MIXERS = ("qmix", "vdn", None)
_DEFAULTS: dict[str, Any] = {
    "lr": 5e-4,
    "grad_clip": 10.0,
    "model": {**MODEL, "fcnet_hiddens": (64,), "fcnet_activation": "relu"},
    "mixer": "qmix",
    "mixing_embed_dim": 32,
    "double_q": True,
    "rnn_hidden_dim": None,
    "max_seq_len": 20,
    "optim_alpha": 0.99,
    "optim_eps": 1e-5,
    "epsilon": ((0, 1.0), (40_000, 0.02)),
    "replay_buffer_config": {**REPLAY, "capacity": 5000},
}


class QMIXConfig(TeamConfig):
    """Settings of QMIX (Rashid et al., 2018) and VDN (Sunehag et al., 2018): agents with one aim learn one value.

    Besides those of algorithms with replay `training` takes `mixer` ("qmix"; "vdn", a sum; None: each agent by itself),
    `mixing_embed_dim`, `double_q`, `epsilon` (a number, or pairs of a step and a number), `rnn_hidden_dim` (the width
    of a recurrent unit; None: agents remember nothing), `max_seq_len` (steps of a row, which is what
    `train_batch_size`, the buffer's `capacity` and `training_intensity` count), and of RMSProp `optim_alpha` and
    `optim_eps`. The reward is the sum of the agents'.

    Example: `QMIXConfig().environment(TwoStepGame).training(mixer="qmix", max_seq_len=2).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **OffPolicyConfig.families,
        "training": {
            **{
                name: value
                for name, value in OffPolicyConfig.families["training"].items()
                if name not in ("adam_epsilon", "n_step")
            },
            **_DEFAULTS,
        },
    }
    fragment = 4
    explorations = DQNConfig.explorations
    _explore = DQNConfig._explore

    def _checked(self, name: str, value: Any) -> Any:
        if name == "mixer" and value not in MIXERS:
            raise ConfigError(f'mixer must be "qmix", "vdn" or None, not {describe(value)}')
        if name == "epsilon":
            return checked(name, value)
        whole = name in ("mixing_embed_dim", "max_seq_len") or (
            name == "rnn_hidden_dim" and value is not None
        )
        if whole and not is_whole(value):
            raise ConfigError(f"{name} must be a whole number ≥ 1, not {describe(value)}")
        if name in ("optim_alpha", "optim_eps") and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1
        ):
            raise ConfigError(f"{name} must be a number from 0 to less than 1, not {describe(value)}")
        return super()._checked(name, value)
