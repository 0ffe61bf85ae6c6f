"""A runner whose environments are elsewhere: it gives actions to who asks, and keeps the episodes to learn from."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Collection
from typing import Any

import attrs
import optree

from shoal.errors import ConfigError, GetTimeout
from shoal.rllib.connectors.module_to_env.actions import in_space
from shoal.rllib.core.columns import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID, Columns
from shoal.rllib.env.env_runner import EnvRunner
from shoal.rllib.env.single_agent_episode import SingleAgentEpisode
from shoal.rllib.environments import creator_of
from shoal.rllib.external.server import PolicyServer
from shoal.rllib.metrics import names
from shoal.rllib.spaces.serialization import convert_numpy_to_python_primitives
from shoal.rllib.spaces.space_values import convert_element_to_space_type

_SHOWN = 100
_MOST_EPISODES = 10_000  # that are open at a time
_SETTINGS = {"host", "port", "token"}


@attrs.define
class _Open:
    """An episode that is played elsewhere: what was done last, and what came of it so far."""

    episode: SingleAgentEpisode
    learns: bool
    action: Any = None
    extra: dict[str, Any] = attrs.field(factory=dict)
    reward: float = 0.0
    before: float = 0.0  # the return of pieces that were given away
    acted: bool = False


class ExternalEnvRunner(EnvRunner):
    """Gives actions to programs that have a `PolicyClient`, by an algorithm that is put together from components.

    `env_config` of the algorithm has `host` (loopback unless told), `port` (0: any free one; a runner that is an actor
    adds its number to another) and `token` (None: one is made). `address` and `token` say what a client needs.

    Example:
        config.environment(ExternalSpaces(observations, actions), env_config={"port": 9900})
        config.env_runners(env_runner_cls=ExternalEnvRunner)
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        unknown = set(config.env_config) - _SETTINGS
        if unknown:
            raise ConfigError(
                f"env_config has {', '.join(sorted(unknown))}; it has {', '.join(sorted(_SETTINGS))}"
            )
        self._changed = threading.Condition()
        self._open: dict[str, _Open] = {}
        self._over: list[SingleAgentEpisode] = []
        self._steps = 0  # that can be given away
        self.make_env()
        self._env_to_module = self.config.build_env_to_module_connector(env=self.env, device="cpu")
        self._module_to_env = self.config.build_module_to_env_connector(env=self.env)
        self.make_module()
        self.token: str = config.env_config.get("token") or secrets.token_urlsafe(24)
        port = int(config.env_config.get("port", 0))
        self._server = PolicyServer(
            config.env_config.get("host", "127.0.0.1"),
            port + self.worker_index if port else 0,
            self.token,
            {
                "start": self._start,
                "action": self._act,
                "log_action": self._log_action,
                "returns": self._log_returns,
                "end": self._end,
            },
        )

    @property
    def address(self) -> str:
        """Where clients find this runner."""
        return self._server.address

    def make_env(self) -> None:
        """Take the spaces."""
        self.env = creator_of(self.config.env)({})

    def make_module(self) -> None:
        """Make the module, for playing only."""
        self.module = self.config.get_rl_module_spec(
            env=self.env, spaces=self.get_spaces(), inference_only=True
        ).build()

    def get_spaces(self) -> dict[str, tuple[Any, Any]]:
        """Return the spaces that the module has, and those of the environment under "__env__"."""
        return {
            "__env__": (self.env.observation_space, self.env.action_space),
            DEFAULT_MODULE_ID: (self._env_to_module.observation_space, self.env.action_space),
        }

    def sample(
        self, *, num_timesteps: int | None = None, num_episodes: int | None = None, **kwargs: Any
    ) -> Any:
        """Wait until clients have made that many steps, or ended that many episodes; return episodes and pieces.

        Raises GetTimeout if there is nothing after `sample_timeout_s`.
        """
        wanted = num_timesteps or self.config.get_rollout_fragment_length(self.worker_index)
        # A little before who asks gives this runner up.
        deadline = time.monotonic() + 0.9 * self.config.sample_timeout_s
        with self._changed:
            while len(self._over) < num_episodes if num_episodes is not None else self._steps < wanted:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    break
            samples, self._over = self._over, []
            if num_episodes is None:
                samples += self._cut()
            self._steps = sum(len(each.episode) for each in self._open.values() if each.learns)
        if not samples:
            raise GetTimeout(
                f"no client of {self.address} made a step within {0.9 * self.config.sample_timeout_s:g} s"
            )
        steps = sum(len(each) for each in samples)
        self.metrics.log_value(names.NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
        self.metrics.log_value(names.NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum")
        return samples

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the connectors' states."""
        return {"env_to_module_connector": self._env_to_module.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take weights and connectors' states: actions from now on are theirs."""
        with self._changed:
            weights = state.get(COMPONENT_RL_MODULE)
            if weights is not None:
                self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))
            if "env_to_module_connector" in state:
                self._env_to_module.set_state(state["env_to_module_connector"])

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a runner like this one is made with."""
        return (), {"config": self.config, "worker_index": self.worker_index, "num_workers": self.num_workers}

    def stop(self) -> None:
        """Answer clients no more."""
        self._server.close()

    # What clients ask

    def _start(self, told: dict[str, Any]) -> dict[str, Any]:
        name = str(told.get("episode_id") or uuid.uuid4().hex)
        with self._changed:
            if name in self._open:
                raise ValueError(f"there is an episode {name!r} already")
            if len(self._open) >= _MOST_EPISODES:
                raise ValueError(f"{_MOST_EPISODES} episodes are open: end some")
            space, actions = self.env.observation_space, self.env.action_space
            self._open[name] = _Open(
                SingleAgentEpisode(name, observation_space=space, action_space=actions),
                bool(told.get("training_enabled", True)),
            )
        return {"episode_id": name}

    def _act(self, told: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            found = self._seen(told)
            columns = self._columns(found)
            forward = (
                self.module.forward_exploration if self.config.explore else self.module.forward_inference
            )
            given = self._through(found, dict(forward(columns)))
            chosen = given.get(Columns.ACTIONS_FOR_ENV, given[Columns.ACTIONS])[0]
            self._acted(found, given)
            action = in_space(chosen, self.env.action_space)
            self._changed.notify_all()
        return {"action": convert_numpy_to_python_primitives(action)}

    def _log_action(self, told: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            found = self._seen(told)
            action = self._of_space(told["action"], self.env.action_space, "action")
            import torch

            given = dict(self.module.forward_exploration(self._columns(found)))
            kind = self.module.get_exploration_action_dist_cls()
            drawn = torch.as_tensor(action)[None]
            given[Columns.ACTIONS] = drawn
            given[Columns.ACTION_LOGP] = kind.from_logits(given[Columns.ACTION_DIST_INPUTS]).logp(drawn)
            self._acted(found, self._through(found, given))
            self._changed.notify_all()
        return {}

    def _log_returns(self, told: dict[str, Any]) -> dict[str, Any]:
        reward = float(told["reward"])
        if reward != reward or reward in (float("inf"), float("-inf")):
            raise ValueError(f"a reward must be a finite number, not {reward}")
        with self._changed:
            found = self._known(told)
            if not found.acted:
                raise ValueError("a reward comes after an action: get_action first")
            found.reward += reward
        return {}

    def _end(self, told: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            found = self._known(told)
            if not found.acted:
                raise ValueError("an episode ends after an action: get_action first")
            seen = self._of_space(told["observation"], self.env.observation_space, "observation")
            cut = bool(told.get("truncated", False))
            self._add(found, seen, terminated=not cut, truncated=cut)
            self._columns(found)  # the last observation goes the same way as the others
            del self._open[found.episode.id_]
            if found.learns:
                self._log(found)
                self._over.append(found.episode)
            self._changed.notify_all()
        return {}

    # Inside, with the lock

    def _known(self, told: dict[str, Any]) -> _Open:
        found = self._open.get(str(told.get("episode_id")))
        if found is None:
            raise ValueError(f"there is no open episode {told.get('episode_id')!r}: start_episode first")
        return found

    def _seen(self, told: dict[str, Any]) -> _Open:
        """The episode with what is seen now."""
        found = self._known(told)
        seen = self._of_space(told["observation"], self.env.observation_space, "observation")
        if found.acted:
            self._add(found, seen)
        elif not found.episode.is_reset:
            found.episode.add_env_reset(seen)
        return found

    def _add(self, found: _Open, seen: Any, terminated: bool = False, truncated: bool = False) -> None:
        bound = self.config.clip_rewards
        reward = found.reward if bound is None else max(-bound, min(bound, found.reward))
        found.episode.add_env_step(
            seen,
            found.action,
            reward,
            extra_model_outputs=found.extra,
            terminated=terminated,
            truncated=truncated,
        )
        found.reward, found.acted = 0.0, False
        if found.learns:
            self._steps += 1

    def _columns(self, found: _Open) -> dict[str, Any]:
        columns: dict[str, Any] = self._env_to_module(
            rl_module=self.module,
            batch={},
            episodes=[found.episode],
            explore=self.config.explore,
            shared_data={},
        )
        return columns

    def _through(self, found: _Open, given: dict[str, Any]) -> dict[str, Any]:
        back: dict[str, Any] = self._module_to_env(
            rl_module=self.module,
            batch=given,
            episodes=[found.episode],
            explore=self.config.explore,
            shared_data={},
        )
        return back

    def _acted(self, found: _Open, given: dict[str, Any]) -> None:
        found.action = given[Columns.ACTIONS][0]
        left_out = (Columns.ACTIONS, Columns.ACTIONS_FOR_ENV)
        found.extra = {name: values[0] for name, values in given.items() if name not in left_out}
        found.acted = True

    def _cut(self) -> list[SingleAgentEpisode]:
        pieces = []
        for found in self._open.values():
            piece = found.episode
            if not found.learns or not len(piece):
                continue
            found.before += piece.get_return()
            found.episode = piece.cut(self.config.episode_lookback_horizon)
            pieces.append(piece)
        return pieces

    def _log(self, found: _Open) -> None:
        whole = found.before + found.episode.get_return()
        found.episode.custom_data["_returns_before"] = found.before
        for name, value in ((names.EPISODE_RETURN_MEAN, whole), (names.EPISODE_LEN_MEAN, found.episode.t)):
            self.metrics.log_value(name, value, reduce="mean", window=_SHOWN)

    def _of_space(self, value: Any, space: Any, what: str) -> Any:
        try:
            made = convert_element_to_space_type(value, space.sample())
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"the {what} {value!r} is not of {space}: {error}") from error
        shapes = [getattr(leaf, "shape", ()) for leaf in optree.tree_leaves(made)]
        if not space.contains(made):
            raise ValueError(f"the {what} {value!r} is not of {space} (its shapes: {shapes})")
        return made
