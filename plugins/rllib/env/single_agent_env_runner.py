"""Plays environments with one agent, through connectors and a module."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import optree
import torch

from shoal.errors import ConfigError
from shoal.rllib.checkpoints import chosen
from shoal.rllib.connectors.module_to_env.actions import in_space
from shoal.rllib.core.columns import (
    COMPONENT_ENV_TO_MODULE_CONNECTOR,
    COMPONENT_MODULE_TO_ENV_CONNECTOR,
    COMPONENT_RL_MODULE,
    DEFAULT_MODULE_ID,
    Columns,
)
from shoal.rllib.env.env_runner import EnvRunner
from shoal.rllib.env.single_agent_episode import SingleAgentEpisode
from shoal.rllib.environments import creator_of
from shoal.rllib.metrics import names

_SHOWN = 100  # episodes that means are taken over


class SingleAgentEnvRunner(EnvRunner):
    """Plays `num_envs_per_env_runner` environments beside each other.

    Observations go through the connectors from environments to the module, the module acts for all environments at
    once, and actions go through the connectors from the module to environments. Callbacks are called at the moments of
    an episode.

    Example: `SingleAgentEnvRunner(config=config).sample(num_timesteps=200)`
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        if config.seed is not None:
            seed = config.seed + 1000 * self.worker_index
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
        self.callbacks = self.config.made_callbacks()
        self._weights_seq_no = 0
        self._episodes: list[SingleAgentEpisode] = []
        self._seen: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.make_env()
        first = self.env[0]
        spaces = (first.observation_space, first.action_space)
        self._env_to_module = self.config.build_env_to_module_connector(
            env=first, spaces={DEFAULT_MODULE_ID: spaces}, device="cpu"
        )
        self._module_to_env = self.config.build_module_to_env_connector(
            env=first, spaces={DEFAULT_MODULE_ID: spaces}
        )
        self.make_module()

    def make_env(self) -> None:
        """Make the environments, instead of those before."""
        self.stop()
        make = creator_of(self.config.env)
        self.env = [make(self.config.env_config) for _ in range(self.config.num_envs_per_env_runner)]
        self.callbacks(
            "on_environment_created",
            env_runner=self,
            metrics_logger=self.metrics,
            env=self.env,
            env_context=self.config.env_config,
        )
        self._episodes = []

    def make_module(self) -> None:
        """Make the module, for playing only."""
        self.module = self.config.get_rl_module_spec(
            env=self.env[0], spaces=self.get_spaces(), inference_only=True
        ).build()

    def get_spaces(self) -> dict[str, tuple[Any, Any]]:
        """Return the spaces that the module has, and those of the environment under "__env__"."""
        return {
            "__env__": (self.env[0].observation_space, self.env[0].action_space),
            DEFAULT_MODULE_ID: (self._env_to_module.observation_space, self.env[0].action_space),
        }

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
        **kwargs: Any,
    ) -> list[SingleAgentEpisode]:
        """Play that many steps or whole episodes (None: `rollout_fragment_length` steps); return episodes or pieces.

        Parameters: `explore` is whether to play to learn from (None: as `config.explore` says); with `random_actions`
        the module is not asked; with `force_reset`, and always for whole episodes, episodes begin anew.

        Raises ValueError for environments that break their own rules, naming the step.
        """
        if num_timesteps is not None and num_episodes is not None:
            raise ConfigError("give num_timesteps or num_episodes, not both")
        explore = self.config.explore if explore is None else explore
        count = len(self.env)
        if num_timesteps is None and num_episodes is None:
            if self.config.batch_mode == "complete_episodes":
                num_episodes = count
            else:
                num_timesteps = self.config.get_rollout_fragment_length(self.worker_index) * count
        if force_reset or num_episodes is not None or not self._episodes:
            self._episodes = [self._begin(place, reset=True) for place in range(count)]
            self._seen = None
        done: list[SingleAgentEpisode] = []
        steps = 0
        while steps < (num_timesteps or 0) if num_episodes is None else len(done) < num_episodes:
            self._step(explore, random_actions, done)
            steps += count
        if num_episodes is not None:
            self._episodes, self._seen = [], None
            samples = done[:num_episodes]
        else:
            samples = done + self._cut()
        for each in samples:
            if self.config.episodes_to_numpy:
                each.to_numpy()
        self._log(samples, done)
        self.callbacks(
            "on_sample_end", env_runner=self, metrics_logger=self.metrics, samples=samples, worker=self
        )
        return samples

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the module's weights and the connectors' states."""
        state: dict[str, Any] = {}
        if chosen(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = self.module.get_state(inference_only=True)
            state[names.WEIGHTS_SEQ_NO] = self._weights_seq_no
        if chosen(COMPONENT_ENV_TO_MODULE_CONNECTOR, components, not_components):
            state[COMPONENT_ENV_TO_MODULE_CONNECTOR] = self._env_to_module.get_state()
        if chosen(COMPONENT_MODULE_TO_ENV_CONNECTOR, components, not_components):
            state[COMPONENT_MODULE_TO_ENV_CONNECTOR] = self._module_to_env.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take weights, if they are newer than what is there, and the connectors' states."""
        weights = state.get(COMPONENT_RL_MODULE)
        number = state.get(names.WEIGHTS_SEQ_NO, 0)
        if weights is not None and (not number or number > self._weights_seq_no):
            if set(weights) == {DEFAULT_MODULE_ID}:
                weights = weights[DEFAULT_MODULE_ID]
            self.module.set_state(weights)
            self._weights_seq_no = number
        if COMPONENT_ENV_TO_MODULE_CONNECTOR in state:
            self._env_to_module.set_state(state[COMPONENT_ENV_TO_MODULE_CONNECTOR])
        if COMPONENT_MODULE_TO_ENV_CONNECTOR in state:
            self._module_to_env.set_state(state[COMPONENT_MODULE_TO_ENV_CONNECTOR])

    def get_weights(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the module's weights by name."""
        found: dict[str, Any] = self.module.get_state(inference_only=True)
        return found

    def set_weights(self, *args: Any, **kwargs: Any) -> None:
        """Take weights: the first argument, or `weights`."""
        self.set_state({COMPONENT_RL_MODULE: args[0] if args else kwargs["weights"]})

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a runner like this one is made with."""
        return (), {"config": self.config, "worker_index": self.worker_index, "num_workers": self.num_workers}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the module and the connectors."""
        return [
            (COMPONENT_RL_MODULE, self.module),
            (COMPONENT_ENV_TO_MODULE_CONNECTOR, self._env_to_module),
            (COMPONENT_MODULE_TO_ENV_CONNECTOR, self._module_to_env),
        ]

    def _begin(self, place: int, reset: bool = False) -> SingleAgentEpisode:
        env = self.env[place]
        episode = SingleAgentEpisode(observation_space=env.observation_space, action_space=env.action_space)
        self._call("on_episode_created", episode, place)
        seed = None
        if reset and self.config.seed is not None and not self._episodes:
            seed = self.config.seed + 1000 * self.worker_index + place
        seen, told = env.reset(seed=seed)
        episode.add_env_reset(seen, told)
        self._call("on_episode_start", episode, place)
        return episode

    def _step(self, explore: bool, random_actions: bool, done: list[SingleAgentEpisode]) -> None:
        columns, shared = self._seen or self._see(self._episodes, explore)
        if random_actions:
            given: dict[str, Any] = {Columns.ACTIONS: [env.action_space.sample() for env in self.env]}
            in_env = given[Columns.ACTIONS]
        else:
            forward = self.module.forward_exploration if explore else self.module.forward_inference
            given = self._module_to_env(
                rl_module=self.module,
                batch=dict(forward(columns)),
                episodes=self._episodes,
                explore=explore,
                shared_data=shared,
                metrics=self.metrics,
            )
            in_env = given.get(Columns.ACTIONS_FOR_ENV, given[Columns.ACTIONS])
            in_env = [in_space(each, env.action_space) for each, env in zip(in_env, self.env, strict=True)]
        actions = given.pop(Columns.ACTIONS)
        given.pop(Columns.ACTIONS_FOR_ENV, None)
        for place, (env, episode) in enumerate(zip(self.env, self._episodes, strict=True)):
            seen, reward, terminated, truncated, told = env.step(in_env[place])
            _check(env, episode, seen, reward)
            bound = self.config.clip_rewards
            if bound is not None:
                reward = max(-bound, min(bound, reward))
            extra = {name: values[place] for name, values in given.items()}
            episode.add_env_step(
                seen,
                actions[place],
                float(reward),
                told,
                terminated=terminated,
                truncated=truncated,
                extra_model_outputs=extra,
            )
            self._call("on_episode_step", episode, place)
        for place, episode in enumerate(self._episodes):
            if episode.is_done:
                # The last observation is learned from: it goes the same way as the others.
                self._see([episode], explore)
                self._call("on_episode_end", episode, place)
                done.append(episode)
                self._episodes[place] = self._begin(place)
        self._seen = self._see(self._episodes, explore)

    def _see(
        self, episodes: list[SingleAgentEpisode], explore: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the module is given of the episodes as they are now, and what is shared on the way back."""
        shared: dict[str, Any] = {}
        columns = self._env_to_module(
            rl_module=self.module,
            batch={},
            episodes=episodes,
            explore=explore,
            shared_data=shared,
            metrics=self.metrics,
        )
        return columns, shared

    def _cut(self) -> list[SingleAgentEpisode]:
        """Pieces of episodes that go on; the last observation of each is that of the next piece too."""
        pieces = []
        for place, episode in enumerate(self._episodes):
            if not len(episode):
                continue
            self._episodes[place] = episode.cut(self.config.episode_lookback_horizon)
            pieces.append(episode)
        return pieces

    def _call(self, moment: str, episode: SingleAgentEpisode, place: int) -> None:
        self.callbacks(
            moment,
            episode=episode,
            env_runner=self,
            metrics_logger=self.metrics,
            env=self.env,
            env_index=place,
            rl_module=self.module,
            worker=self,
        )

    def _log(self, samples: list[SingleAgentEpisode], done: list[SingleAgentEpisode]) -> None:
        steps = sum(len(each) for each in samples)
        self.metrics.log_value(names.NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
        self.metrics.log_value(
            names.NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum", with_throughput=True
        )
        self.metrics.log_value(names.NUM_EPISODES, len(done), reduce="sum")
        self.metrics.log_value(names.NUM_EPISODES_LIFETIME, len(done), reduce="lifetime_sum")
        for episode in done:
            known = episode.custom_data.setdefault("_returns_before", 0.0)
            whole = known + episode.get_return()
            for name, value, how in (
                (names.EPISODE_RETURN_MEAN, whole, "mean"),
                (names.EPISODE_RETURN_MIN, whole, "min"),
                (names.EPISODE_RETURN_MAX, whole, "max"),
                (names.EPISODE_LEN_MEAN, episode.t, "mean"),
                (names.EPISODE_LEN_MIN, episode.t, "min"),
                (names.EPISODE_LEN_MAX, episode.t, "max"),
                (names.EPISODE_DURATION_SEC_MEAN, episode.get_duration_s(), "mean"),
            ):
                self.metrics.log_value(name, value, reduce=how, window=_SHOWN)
        for episode in samples:
            if not episode.is_done:
                before = episode.custom_data.get("_returns_before", 0.0)
                episode.custom_data["_returns_before"] = before + episode.get_return()


def _check(env: Any, episode: SingleAgentEpisode, seen: Any, reward: Any) -> None:
    numbers = [np.asarray(each) for each in optree.tree_leaves(seen)]
    fine = all(each.dtype.kind not in "fc" or bool(np.isfinite(each).all()) for each in numbers)
    if not np.isfinite(float(reward)) or not fine:
        what = f"the reward {reward}" if not np.isfinite(float(reward)) else f"the observation {seen}"
        raise ValueError(
            f"step {episode.t + 1} of an episode of {env} gave {what}: it must be finite numbers"
        )
