"""What an algorithm is put together from: who plays, what learns, and where their numbers come together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from shoal.rllib.connectors.module_to_env.actions import in_space
from shoal.rllib.core.columns import (
    COMPONENT_ENV_TO_MODULE_CONNECTOR,
    COMPONENT_LEARNER,
    COMPONENT_RL_MODULE,
    Columns,
)
from shoal.rllib.core.learner.learner_group import LearnerGroup
from shoal.rllib.env.env_runner_group import EnvRunnerGroup
from shoal.rllib.env.single_agent_episode import SingleAgentEpisode
from shoal.rllib.metrics.metrics_logger import MetricsLogger


class Components:
    """Runners and learners by a configuration.

    Parameters: `config` tells of modules, learners, connectors and runners; `spaces` has the environment's spaces under
    "__env__".

    Example: `Components(config, {"__env__": (observations, actions)}).learner_group`
    """

    def __init__(self, config: Any, spaces: Mapping[str, Any]) -> None:
        self._config, self._spaces = config, spaces
        self.metrics = MetricsLogger(root=True)
        self.env_runner_group = EnvRunnerGroup(config=config)
        try:
            self._pipeline = config.build_env_to_module_connector(spaces=spaces, device="cpu")
            self._back = config.build_module_to_env_connector(spaces=spaces)
            seen, acted = self._pipeline.observation_space, spaces["__env__"][1]
            self._spec = config.get_multi_rl_module_spec(spaces={"default_policy": (seen, acted)})
            self.learner_group: LearnerGroup = config.build_learner_group(rl_module_spec=self._spec)
        except BaseException:
            self.env_runner_group.stop()
            raise
        self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group)
        self._acting: Any = None

    def module(self, name: str) -> Any:
        """Return a module that plays, with the weights that it has now."""
        if name not in self._spec:
            raise KeyError(f"there is no module {name!r}; there are {', '.join(self._spec.rl_module_specs)}")
        if self._acting is None:
            self._acting = self._spec.build()
        self._acting.set_state(self.weights_as_arrays())
        return self._acting[name]

    def act(self, observation: Any, explore: bool) -> Any:
        """Return an action for one observation, which goes through the connectors as a runner's do."""
        module = self.module("default_policy")
        states = self.env_runner_group.foreach_env_runner(
            "get_state", kwargs={"components": COMPONENT_ENV_TO_MODULE_CONNECTOR}
        )
        if states:
            self._pipeline.set_state(
                self._pipeline.merged([each[COMPONENT_ENV_TO_MODULE_CONNECTOR] for each in states])
            )
        episode = SingleAgentEpisode()
        episode.add_env_reset(observation)
        shared: dict[str, Any] = {}
        columns = self._pipeline(
            rl_module=module, batch={}, episodes=[episode], explore=explore, shared_data=shared
        )
        given = module.forward_exploration(columns) if explore else module.forward_inference(columns)
        back = self._back(
            rl_module=module, batch=dict(given), episodes=[episode], explore=explore, shared_data=shared
        )
        chosen = back.get(Columns.ACTIONS_FOR_ENV, back[Columns.ACTIONS])[0]
        return in_space(chosen, self._spaces["__env__"][1])

    def weights_as_arrays(self) -> dict[str, Any]:
        """Return all weights as arrays, by module and name."""

        def state(learner: Any) -> dict[str, Any]:
            found: dict[str, Any] = learner.module.get_state()
            return found

        found: dict[str, Any] = self.learner_group.foreach_learner(state, remote_actor_ids=[0])[0]
        return found

    def weights(self) -> dict[str, Any]:
        """Return all weights as tensors, by "module/name"."""
        return {
            f"{module}/{name}": torch.as_tensor(np.array(value))
            for module, state in self.weights_as_arrays().items()
            for name, value in state.items()
        }

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Take weights, and hand them to the runners. Raises RuntimeError if they are another network's."""
        by_module: dict[str, dict[str, Any]] = {}
        for place, value in weights.items():
            module, _, name = place.partition("/")
            by_module.setdefault(module, {})[name] = value.numpy()
        try:
            self.learner_group.set_weights(by_module)
        except (KeyError, ValueError) as error:
            raise RuntimeError(str(error)) from error
        self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group)

    def size(self) -> int:
        """Return how many weights there are."""
        return sum(
            int(np.size(value)) for state in self.weights_as_arrays().values() for value in state.values()
        )

    def get_state(self) -> dict[str, Any]:
        """Return what a checkpoint must have besides weights: optimisers' and connectors' states."""
        learner = self.learner_group.get_state()[COMPONENT_LEARNER]
        states = self.env_runner_group.foreach_env_runner(
            "get_state", kwargs={"not_components": COMPONENT_RL_MODULE}
        )
        connectors = self._pipeline.merged([each[COMPONENT_ENV_TO_MODULE_CONNECTOR] for each in states])
        return {
            "learner": {name: value for name, value in learner.items() if name != COMPONENT_RL_MODULE},
            "connectors": plain(connectors),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take it."""
        self.learner_group.set_state({COMPONENT_LEARNER: dict(state["learner"])})
        self.env_runner_group.hand_out({COMPONENT_ENV_TO_MODULE_CONNECTOR: arrays(state["connectors"])})

    def stop(self) -> None:
        """End runners and learners."""
        self.env_runner_group.stop()
        self.learner_group.shutdown()


def plain(value: Any) -> Any:
    """Return a structure with tensors in the places of arrays: what torch loads without running code.

    Example: `plain({"mean": np.zeros(2)})`
    """
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(each) for each in value)
    return torch.from_numpy(np.array(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def arrays(value: Any) -> Any:
    """Return a structure with arrays in the places of tensors: the way back of `plain`.

    Example: `arrays(plain({"mean": np.zeros(2)}))`
    """
    if isinstance(value, dict):
        return {name: arrays(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(arrays(each) for each in value)
    return value.numpy() if isinstance(value, torch.Tensor) else value
