"""An episode of one agent, or a piece of one: what was seen, done and given, step by step."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.core.columns import Columns
from shoal.rllib.env.infinite_lookback_buffer import InfiniteLookbackBuffer

_STATE = (
    "id_",
    "agent_id",
    "module_id",
    "multi_agent_episode_id",
    "t",
    "t_started",
    "is_terminated",
    "is_truncated",
    "custom_data",
)


class SingleAgentEpisode:
    """What one agent saw, did and was given, in `len(episode)` steps. There is one observation more than steps.

    An episode may be a piece of one: `t_started` tells the step at which it begins, and the last steps before it are
    there to look back at. `cut` returns the piece that goes on behind this one.

    Parameters: what there is already, `len_lookback_buffer` of it as lookback ("auto": all). `extra_model_outputs` are
    what the module gave beside actions, by name.

    Example:
        episode = SingleAgentEpisode()
        episode.add_env_reset(observation)
        episode.add_env_step(next_observation, action, reward, terminated=True)
    """

    def __init__(
        self,
        id_: str | None = None,
        *,
        observations: Any = None,
        observation_space: gymnasium.Space[Any] | None = None,
        infos: Any = None,
        actions: Any = None,
        action_space: gymnasium.Space[Any] | None = None,
        rewards: Any = None,
        terminated: bool = False,
        truncated: bool = False,
        extra_model_outputs: Mapping[str, Any] | None = None,
        t_started: int | None = None,
        len_lookback_buffer: int | str = "auto",
        agent_id: Any = None,
        module_id: str | None = None,
        multi_agent_episode_id: str | None = None,
    ) -> None:
        self.id_ = id_ or uuid.uuid4().hex
        self.agent_id, self.module_id = agent_id, module_id
        self.multi_agent_episode_id = multi_agent_episode_id
        self._observation_space, self._action_space = observation_space, action_space
        steps = len(rewards) if rewards is not None else 0
        back = steps if len_lookback_buffer == "auto" else min(int(len_lookback_buffer), steps)
        self.observations = _buffer(observations, back, observation_space)
        self.infos = _buffer(
            infos if infos is not None else [{}] * self.observations.len_incl_lookback(), back
        )
        self.actions = _buffer(actions, back, action_space)
        self.rewards = _buffer(rewards, back)
        self.extra_model_outputs = {
            name: _buffer(given, back) for name, given in (extra_model_outputs or {}).items()
        }
        self.is_terminated, self.is_truncated = bool(terminated), bool(truncated)
        self.t_started = t_started if t_started is not None else 0
        self.t = self.t_started + len(self.rewards)
        self.custom_data: dict[str, Any] = {}
        self._temporary: dict[str, list[Any]] = {}
        self._begun: float | None = None
        self._last: float | None = None
        self.validate()

    @property
    def observation_space(self) -> gymnasium.Space[Any] | None:
        """The space of observations, if it was told."""
        return self._observation_space

    @observation_space.setter
    def observation_space(self, space: gymnasium.Space[Any]) -> None:
        self._observation_space = self.observations.space = space

    @property
    def action_space(self) -> gymnasium.Space[Any] | None:
        """The space of actions, if it was told."""
        return self._action_space

    @action_space.setter
    def action_space(self, space: gymnasium.Space[Any]) -> None:
        self._action_space = self.actions.space = space

    def add_env_reset(self, observation: Any, infos: Mapping[str, Any] | None = None) -> None:
        """Add what the environment gave when it began. Raises ValueError if the episode has begun."""
        if self.is_reset:
            raise ValueError(f"episode {self.id_} has begun already")
        self.observations.append(observation)
        self.infos.data = []
        self.infos.append(infos or {})
        self._begun = self._last = time.perf_counter()

    def add_env_step(
        self,
        observation: Any,
        action: Any,
        reward: Any,
        infos: Mapping[str, Any] | None = None,
        *,
        terminated: bool = False,
        truncated: bool = False,
        extra_model_outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a step: what was done, and what the environment gave for it. Raises ValueError if it is over."""
        if not self.is_reset:
            raise ValueError(f"episode {self.id_} has not begun: add_env_reset comes first")
        if self.is_done:
            raise ValueError(f"episode {self.id_} is over: no step can be added")
        self.observations.append(observation)
        self.actions.append(action)
        self.rewards.append(reward)
        self.infos.append(infos or {})
        for name, value in (extra_model_outputs or {}).items():
            self.extra_model_outputs.setdefault(name, InfiniteLookbackBuffer()).append(value)
        self.t += 1
        self.is_terminated, self.is_truncated = bool(terminated), bool(truncated)
        self._last = time.perf_counter()

    def validate(self) -> None:
        """Raise ValueError if the parts do not fit together."""
        steps = len(self.rewards)
        if len(self.actions) != steps:
            raise ValueError(f"an episode with {len(self.actions)} actions and {steps} rewards")
        if self.is_reset and len(self.observations) != steps + 1:
            raise ValueError(
                f"an episode of {steps} steps has {steps + 1} observations, not {len(self.observations)}"
            )
        for name, values in self.extra_model_outputs.items():
            if len(values) != steps:
                raise ValueError(f"an episode of {steps} steps with {len(values)} values of {name}")

    @property
    def is_reset(self) -> bool:
        """Whether it has begun."""
        return len(self.observations) > 0

    @property
    def is_numpy(self) -> bool:
        """Whether its parts are arrays."""
        return self.observations.finalized

    @property
    def is_done(self) -> bool:
        """Whether it terminated or was cut short."""
        return self.is_terminated or self.is_truncated

    def to_numpy(self) -> SingleAgentEpisode:
        """Make arrays of all parts; return the episode. No steps should be added then."""
        for each in (
            self.observations,
            self.actions,
            self.rewards,
            self.infos,
            *self.extra_model_outputs.values(),
        ):
            each.finalize()
        return self

    def cut(self, len_lookback_buffer: int = 0) -> SingleAgentEpisode:
        """Return the piece that goes on where this one ends, with its last steps to look back at.

        Raises ValueError if the episode is over.
        """
        if self.is_done:
            raise ValueError(f"episode {self.id_} is over: nothing goes on behind it")
        end = len(self)
        made = self._piece(end, end, len_lookback_buffer)
        made._begun, made._last = self._begun, self._last
        made.custom_data = self.custom_data
        return made

    def slice(self, slice_: slice, *, len_lookback_buffer: int | None = None) -> SingleAgentEpisode:
        """Return some of the steps as an episode, with as many to look back at as this one has unless it is told.

        It is over where this episode is, if the last step is among them.
        """
        start, stop, step = slice_.indices(len(self))
        back = self.observations.lookback if len_lookback_buffer is None else len_lookback_buffer
        made = self._piece(start, max(start, stop), back, step)
        if stop == len(self):
            made.is_terminated, made.is_truncated = self.is_terminated, self.is_truncated
        return made

    def concat_episode(self, other: SingleAgentEpisode) -> None:
        """Put the steps of the piece behind this one at the end. Raises ValueError if it does not go on from here."""
        if other.id_ != self.id_ or other.t_started != self.t or self.is_done:
            raise ValueError(
                f"a piece of {other.id_} from step {other.t_started} does not go on from step {self.t} of {self.id_}"
            )
        self.observations.pop(-1)
        self.infos.pop(-1)
        self.observations.concat(other.observations)
        self.infos.concat(other.infos)
        self.actions.concat(other.actions)
        self.rewards.concat(other.rewards)
        for name, values in other.extra_model_outputs.items():
            self.extra_model_outputs.setdefault(name, InfiniteLookbackBuffer()).concat(values)
        self.t = other.t
        self.is_terminated, self.is_truncated = other.is_terminated, other.is_truncated
        self.custom_data.update(other.custom_data)
        self.validate()

    def get_observations(
        self,
        indices: Any = None,
        *,
        neg_index_as_lookback: bool = False,
        fill: float | None = None,
        one_hot_discrete: bool = False,
    ) -> Any:
        """Return observations; indices as `InfiniteLookbackBuffer.get` has them."""
        return self.observations.get(
            indices,
            neg_index_as_lookback=neg_index_as_lookback,
            fill=fill,
            one_hot_discrete=one_hot_discrete,
        )

    def get_infos(self, indices: Any = None, *, neg_index_as_lookback: bool = False, fill: Any = None) -> Any:
        """Return what environments told beside observations."""
        return self.infos.get(indices, neg_index_as_lookback=neg_index_as_lookback, fill=fill)

    def get_actions(
        self,
        indices: Any = None,
        *,
        neg_index_as_lookback: bool = False,
        fill: float | None = None,
        one_hot_discrete: bool = False,
    ) -> Any:
        """Return actions."""
        return self.actions.get(
            indices,
            neg_index_as_lookback=neg_index_as_lookback,
            fill=fill,
            one_hot_discrete=one_hot_discrete,
        )

    def get_rewards(
        self, indices: Any = None, *, neg_index_as_lookback: bool = False, fill: float | None = None
    ) -> Any:
        """Return rewards."""
        return self.rewards.get(indices, neg_index_as_lookback=neg_index_as_lookback, fill=fill)

    def get_extra_model_outputs(
        self, key: str, indices: Any = None, *, neg_index_as_lookback: bool = False, fill: Any = None
    ) -> Any:
        """Return what the module gave under a name. Raises KeyError if it gave nothing such."""
        return self.extra_model_outputs[key].get(
            indices, neg_index_as_lookback=neg_index_as_lookback, fill=fill
        )

    def set_observations(
        self, *, new_data: Any, at_indices: Any = None, neg_index_as_lookback: bool = False
    ) -> None:
        """Put others in the places of observations."""
        self.observations.set(new_data, at_indices=at_indices, neg_index_as_lookback=neg_index_as_lookback)

    def set_actions(
        self, *, new_data: Any, at_indices: Any = None, neg_index_as_lookback: bool = False
    ) -> None:
        """Put others in the places of actions."""
        self.actions.set(new_data, at_indices=at_indices, neg_index_as_lookback=neg_index_as_lookback)

    def set_rewards(
        self, *, new_data: Any, at_indices: Any = None, neg_index_as_lookback: bool = False
    ) -> None:
        """Put others in the places of rewards."""
        self.rewards.set(new_data, at_indices=at_indices, neg_index_as_lookback=neg_index_as_lookback)

    def set_extra_model_outputs(
        self, *, key: str, new_data: Any, at_indices: Any = None, neg_index_as_lookback: bool = False
    ) -> None:
        """Put others in the places of what the module gave under a name, or begin the name with a value a step."""
        if key not in self.extra_model_outputs and at_indices is None:
            self.extra_model_outputs[key] = InfiniteLookbackBuffer(list(new_data))
            self.validate()
        else:
            self.extra_model_outputs[key].set(
                new_data, at_indices=at_indices, neg_index_as_lookback=neg_index_as_lookback
            )

    def add_temporary_timestep_data(self, key: str, data: Any) -> None:
        """Keep a value of this step until the runner gives the episode away; callbacks use it."""
        self._temporary.setdefault(key, []).append(data)

    def get_temporary_timestep_data(self, key: str) -> list[Any]:
        """Return the values kept under a name. Raises KeyError if there are none."""
        return self._temporary[key]

    def get_data_dict(self) -> dict[str, Any]:
        """Return columns by name, a value a step."""
        steps = len(self)
        ends = np.zeros(steps, dtype=bool)
        terminated, truncated = ends.copy(), ends.copy()
        if steps:
            terminated[-1], truncated[-1] = self.is_terminated, self.is_truncated
        numbers = range(steps)
        return {
            Columns.OBS: self.get_observations(slice(0, steps)),
            Columns.NEXT_OBS: self.get_observations(slice(1, steps + 1)),
            Columns.ACTIONS: self.get_actions(),
            Columns.REWARDS: self.get_rewards(),
            Columns.INFOS: self.get_infos(slice(0, steps)),
            Columns.TERMINATEDS: terminated,
            Columns.TRUNCATEDS: truncated,
            Columns.T: np.array([self.t_started + number for number in numbers]),
            Columns.EPS_ID: np.array([self.id_] * steps),
            **{name: values.get() for name, values in self.extra_model_outputs.items()},
        }

    def get_sample_batch(self) -> Any:
        """Return the columns as a SampleBatch."""
        from shoal.rllib.policy.sample_batch import SampleBatch

        return SampleBatch(self.get_data_dict())

    def get_return(self) -> float:
        """Return the sum of the rewards."""
        return float(np.sum(self.rewards.get())) if len(self) else 0.0

    def get_duration_s(self) -> float:
        """Return the seconds between its beginning and its last step."""
        return 0.0 if self._begun is None or self._last is None else self._last - self._begun

    def env_steps(self) -> int:
        """Return how many steps there are."""
        return len(self)

    def agent_steps(self) -> int:
        """Return how many steps there are."""
        return len(self)

    def get_state(self) -> dict[str, Any]:
        """Return all that `from_state` needs."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            "observations": self.observations.get_state(),
            "infos": self.infos.get_state(),
            "actions": self.actions.get_state(),
            "rewards": self.rewards.get_state(),
            "extra_model_outputs": {
                name: values.get_state() for name, values in self.extra_model_outputs.items()
            },
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> SingleAgentEpisode:
        """Return the episode whose state `get_state` gave."""
        made = SingleAgentEpisode(state["id_"])
        for name in _STATE:
            setattr(made, name, state[name])
        for name in ("observations", "infos", "actions", "rewards"):
            setattr(made, name, InfiniteLookbackBuffer.from_state(state[name]))
        made.extra_model_outputs = {
            name: InfiniteLookbackBuffer.from_state(each)
            for name, each in state["extra_model_outputs"].items()
        }
        made._observation_space, made._action_space = made.observations.space, made.actions.space
        return made

    def __len__(self) -> int:
        return self.t - self.t_started

    def __getitem__(self, item: Any) -> SingleAgentEpisode:
        """Return some of the steps as an episode. Raises TypeError for anything but a slice."""
        if not isinstance(item, slice):
            raise TypeError(f"an episode is sliced, such as episode[2:5]; {item!r} is no slice")
        return self.slice(item)

    def __repr__(self) -> str:
        over = " terminated" if self.is_terminated else " truncated" if self.is_truncated else ""
        return f"SingleAgentEpisode({self.id_}, steps {self.t_started} to {self.t}, return {self.get_return():g}{over})"

    def _piece(self, start: int, stop: int, lookback: int, step: int | None = None) -> SingleAgentEpisode:
        made = SingleAgentEpisode(
            self.id_,
            agent_id=self.agent_id,
            module_id=self.module_id,
            multi_agent_episode_id=self.multi_agent_episode_id,
            observation_space=self.observation_space,
            action_space=self.action_space,
            t_started=self.t_started + start,
        )
        made.observations = self.observations.sliced(start, stop + 1, step, lookback)
        made.infos = self.infos.sliced(start, stop + 1, step, lookback)
        made.actions = self.actions.sliced(start, stop, step, lookback)
        made.rewards = self.rewards.sliced(start, stop, step, lookback)
        made.extra_model_outputs = {
            name: values.sliced(start, stop, step, lookback)
            for name, values in self.extra_model_outputs.items()
        }
        made.t = made.t_started + len(made.rewards)
        return made


def _buffer(given: Any, lookback: int, space: Any = None) -> InfiniteLookbackBuffer:
    if isinstance(given, InfiniteLookbackBuffer):
        return given
    data: Any = list(given) if isinstance(given, Sequence) else given
    return InfiniteLookbackBuffer(data, lookback, space)
