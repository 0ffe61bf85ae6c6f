"""The settings of algorithms that learn from what they keep."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig

C = TypeVar("C", bound="OffPolicyConfig")

REPLAY = {"type": "ReplayBuffer", "capacity": 50_000, "alpha": 0.6, "beta": 0.4, "eps": 1e-6, "num_shards": 4}
_OLDER_REPLAY = {
    "prioritized_replay_alpha": "alpha",
    "prioritized_replay_beta": "beta",
    "prioritized_replay_eps": "eps",
    "num_replay_buffer_shards": "num_shards",
}
# Kinds of buffers by the names that they have elsewhere; whether rows have priorities.
KINDS = {
    "ReplayBuffer": False,
    "EpisodeReplayBuffer": False,
    "MultiAgentReplayBuffer": False,
    "PrioritizedReplayBuffer": True,
    "PrioritizedEpisodeReplayBuffer": True,
    "MultiAgentPrioritizedReplayBuffer": True,
}

_DEFAULTS: dict[str, Any] = {
    "n_step": 1,
    "tau": 1.0,
    "target_network_update_freq": 500,
    "num_steps_sampled_before_learning_starts": 1000,
    "training_intensity": None,
    "replay_buffer_config": REPLAY,
    "store_buffer_in_checkpoints": False,
    "adam_epsilon": 1e-8,
}
_LEAST = {
    "n_step": 1,
    "tau": 0,
    "target_network_update_freq": 0,
    "num_steps_sampled_before_learning_starts": 0,
    "training_intensity": 0,
    "adam_epsilon": 0,
    "min_sample_timesteps_per_iteration": 1,
}


class OffPolicyConfig(AlgorithmConfig):
    """Settings of algorithms with a replay buffer.

    Besides those of all algorithms `training` takes `n_step`; `tau` and `target_network_update_freq` (steps of
    environments) of target networks; `num_steps_sampled_before_learning_starts`; `training_intensity` (rows learned
    from for each step played; None: a batch for each request to the runners); `replay_buffer_config` (`type`,
    `capacity`, and of the prioritised `alpha`, `beta`, `eps`; `num_shards` of the asynchronous algorithms);
    `store_buffer_in_checkpoints`; `adam_epsilon`.

    Example: `DQNConfig().training(replay_buffer_config={"type": "PrioritizedReplayBuffer", "capacity": 10_000})`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **AlgorithmConfig.families,
        "training": {**AlgorithmConfig.families["training"], **_DEFAULTS},
        "reporting": {
            **AlgorithmConfig.families["reporting"],
            "min_sample_timesteps_per_iteration": 1000,
        },
    }
    fragment = 1  # steps of each environment in one request, where `rollout_fragment_length` is "auto"
    explorations: ClassVar[Mapping[str, str]] = {}  # settings of `exploration_config`, and what they are here

    def exploration(
        self: C, exploration_config: Mapping[str, Any] | None = None, explore: bool | None = None
    ) -> C:
        """Say how it explores, under the names that these settings had before."""
        if explore is False:
            raise ConfigError("explore=False would play the same for ever: use compute_single_action's")
        for name, value in (exploration_config or {}).items():
            if name == "type":
                continue
            if name not in self.explorations:
                raise ConfigError(
                    f"exploration_config has no setting {name!r}; it has {', '.join(sorted(self.explorations))}"
                )
            self._explore(name, value)
        return self

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        capacity = self.replay_buffer_config["capacity"]
        if capacity < self.train_batch_size:
            raise ConfigError(
                f"the replay buffer's capacity={capacity} is less than train_batch_size={self.train_batch_size}"
            )
        if capacity < self.num_steps_sampled_before_learning_starts:
            raise ConfigError(
                f"num_steps_sampled_before_learning_starts={self.num_steps_sampled_before_learning_starts} is more "
                f"than the replay buffer's capacity={capacity}"
            )

    def prioritised(self) -> bool:
        """Return whether rows have priorities."""
        return KINDS[self.replay_buffer_config["type"]]

    def steps_of_a_request(self) -> int:
        """Return how many steps each environment plays in one request."""
        given = self.rollout_fragment_length
        return self.fragment if given == "auto" else int(given)

    def _explore(self, name: str, value: Any) -> None:
        self._set("training", {self.explorations[name]: value})

    def _checked(self, name: str, value: Any) -> Any:
        if name == "replay_buffer_config":
            return self._replay(value)
        if name in _LEAST and not (value is None and name == "training_intensity"):
            least = _LEAST[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
                raise ConfigError(f"{name} must be a number ≥ {least}, not {describe(value)}")
        return super()._checked(name, value)

    def _replay(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigError(f"replay_buffer_config must be a mapping, not {describe(value)}")
        given = {_OLDER_REPLAY.get(str(name), str(name)): each for name, each in value.items()}
        for name in given:
            if name not in REPLAY:
                near = difflib.get_close_matches(str(name), [*REPLAY, *_OLDER_REPLAY], 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(
                    f"replay_buffer_config has no setting {name!r}{meant} It has: {', '.join(sorted(REPLAY))}"
                )
        made = {**self._settings["replay_buffer_config"], **given}
        if made["type"] not in KINDS:
            raise ConfigError(
                f"replay_buffer_config's type must be one of {', '.join(KINDS)}, not {describe(made['type'])}"
            )
        return made
