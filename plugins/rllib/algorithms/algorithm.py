"""What all algorithms have in common: runners that sample, something that learns, and checkpoints."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch

from shoal.errors import ConfigError
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.components import Components
from shoal.rllib.algorithms.evaluation import played
from shoal.rllib.callbacks.callbacks import Callbacks
from shoal.rllib.core.columns import DEFAULT_MODULE_ID
from shoal.rllib.environments import creator_of
from shoal.rllib.policy.policy import Policy

_VERSION = 1  # of checkpoints
_EPISODES = 100  # that means are taken over
_SMALL = (
    1_000_000  # weights of a network below which one thread is faster than several that wait for one another
)


class Algorithm(ABC):
    """An algorithm that learns. Made by `config.build()`; `train` is one iteration.

    An algorithm of one's own overrides `training_step`, in which `env_runner_group` plays and `learner_group` learns;
    both are made of what its configuration tells: module, learner, connectors.

    Example:
        class Mine(Algorithm):
            def training_step(self):
                episodes = synchronous_parallel_sample(
                    worker_set=self.env_runner_group, max_env_steps=self.config.train_batch_size)
                told = self.learner_group.update(episodes=episodes)
                self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group)
                return told[0]
    """

    config_class: type[AlgorithmConfig] = AlgorithmConfig

    def __init__(
        self, config: AlgorithmConfig | Mapping[str, Any] | None = None, env: Any = None, **kwargs: Any
    ) -> None:
        if kwargs:
            raise ConfigError(f"{type(self).__name__} takes config and env, not {', '.join(kwargs)}")
        if not isinstance(config, AlgorithmConfig):
            config = self.get_default_config().update_from_dict(config or {})
        if env is not None:
            config = config.copy().environment(env)
        self.config = config
        if config.seed is not None:
            torch.manual_seed(config.seed)
        make = creator_of(config.env)
        looked_at = make(config.env_config)
        try:
            self.look_at(looked_at)
        finally:
            looked_at.close()
        self.device = torch.device("cuda" if config.num_gpus else "cpu")
        if config.num_gpus and not torch.cuda.is_available():
            raise ConfigError(f"num_gpus={config.num_gpus}, and torch sees no GPU here; set it to 0")
        self._random = np.random.default_rng(config.seed)
        self.callbacks = Callbacks(config.callbacks_class, config.moments())
        self._iteration = 0
        self._steps = 0
        self._seconds = 0.0
        self._episodes: deque[tuple[float, int]] = deque(maxlen=_EPISODES)
        self._make = make
        self.prepare(make)

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """Return the settings that the algorithm has unless it is told."""
        return cls.config_class(cls)

    def prepare(self, make: Any) -> None:
        """Make what learns and who plays; `make` makes environments."""
        self.components = Components(self.config, self.spaces_here)

    def look_at(self, env: Any) -> None:
        """Take from an environment what its spaces are. Algorithms that play several agents override it."""
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.spaces_here = {"__env__": (env.observation_space, env.action_space)}

    @property
    def env_runner_group(self) -> Any:
        """Who plays: an EnvRunnerGroup."""
        return self.components.env_runner_group

    @property
    def learner_group(self) -> Any:
        """What learns: a LearnerGroup."""
        return self.components.learner_group

    @property
    def env_runner(self) -> Any:
        """The runner in this process, if there is one."""
        return self.env_runner_group.local_env_runner

    @property
    def metrics(self) -> Any:
        """Where numbers of runners and learners come together."""
        return self.components.metrics

    def get_policy(self, policy_id: str = DEFAULT_MODULE_ID) -> Policy:
        """Return a policy. Raises ConfigError for an unknown name."""
        if policy_id != DEFAULT_MODULE_ID:
            raise ConfigError(f"there is no policy {policy_id!r}; there is {DEFAULT_MODULE_ID}")
        return Policy(self, policy_id, self.observation_space, self.action_space)

    def act_of(self, policy: str, observation: Any, explore: bool) -> Any:
        """Return an action of a policy for one observation."""
        return self.compute_single_action(observation, explore)

    def acting_network(self, policy: str) -> Any:
        """Return the network of a policy that acts. Raises ConfigError if it is no one network."""
        return self.get_module(policy)

    def export_policy_model(
        self, export_dir: str | os.PathLike[str], policy_id: str = DEFAULT_MODULE_ID
    ) -> str:
        """Write a policy's network as a program of torch's that runs without Shoal; return its path."""
        return self.get_policy(policy_id).export_model(export_dir)

    def export_policy_checkpoint(
        self, export_dir: str | os.PathLike[str], policy_id: str = DEFAULT_MODULE_ID
    ) -> str:
        """Write the weights of a policy's network; return the file's path."""
        return self.get_policy(policy_id).export_checkpoint(export_dir)

    def count(self, episodes: Sequence[Any], told: Sequence[Mapping[str, Any]]) -> None:
        """Count the steps of what runners played, and put their numbers together."""
        self._steps += sum(len(each) for each in episodes)
        self.metrics.aggregate(told, key="env_runners")
        self._episodes.extend(
            (episode.custom_data.get("_returns_before", 0.0) + episode.get_return(), episode.t)
            for episode in episodes
            if episode.is_done
        )

    def hand_out(self) -> None:
        """Hand the weights as they are now to the runners, and connectors' states of all to each."""
        self.env_runner_group.sync_env_runner_states(rl_module_state=self.learner_group.get_weights())

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> Any:
        """Return a module that plays, with the weights that it has now. Raises KeyError for an unknown name."""
        return self.components.module(module_id)

    def get_weights(self, policies: Sequence[str] | None = None) -> dict[str, Any]:
        """Return weights as arrays, by module and name."""
        found: dict[str, Any] = self.learner_group.get_weights(policies)
        return found

    def set_weights(self, weights: dict[str, Any]) -> None:
        """Take weights by module and name, and hand them to the runners."""
        self.learner_group.set_weights(weights)
        self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group)

    uses_components = True  # whether it is put together from what the configuration tells
    takes_several_agents = False  # whether it can play environments with several agents

    @classmethod
    def as_trainable(cls) -> Any:
        """Return the class that trials of shoal.tune run: `tune.Tuner(PPO, param_space=config)`."""
        from shoal.rllib.tuning import trainable_of

        return trainable_of(cls)

    @abstractmethod
    def training_step(self) -> dict[str, Any]:
        """Sample and learn once; return what is to be told of the learning."""

    def learner_state(self) -> dict[str, Any]:
        """Return what besides the network's weights a checkpoint must have."""
        return self.components.get_state()

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from what `learner_state` returned."""
        self.components.set_state(state)

    def module_state(self) -> dict[str, Any]:
        """Return the network's weights, as tensors by name."""
        return self.components.weights()

    def set_module_state(self, state: dict[str, Any]) -> None:
        """Take them. Raises RuntimeError if they are another network's."""
        self.components.set_weights(state)

    def size(self) -> int:
        """Return how many weights the network has."""
        return self.components.size()

    @property
    def iteration(self) -> int:
        """How many iterations there were."""
        return self._iteration

    def train(self) -> dict[str, Any]:
        """Sample and learn once; return numbers: `episode_reward_mean` (of the last 100 episodes), `episode_len_mean`,
        `num_env_steps_sampled_lifetime`, `training_iteration`, `learners`, seconds. Raises what environments raise."""
        begun = time.monotonic()
        before = len(self._episodes)
        steps = self._steps + self.config.min_sample_timesteps_per_iteration
        with _threads(self.size()):
            told = self.training_step()
            while time.monotonic() - begun < self.config.min_time_s_per_iteration or self._steps < steps:
                told = self.training_step()
        self._iteration += 1
        seconds = time.monotonic() - begun
        self._seconds += seconds
        returns = [each for each, _ in self._episodes] or [float("nan")]
        lengths: list[float] = [each for _, each in self._episodes] or [float("nan")]
        runners = {
            "episode_return_mean": float(np.mean(returns)),
            "episode_return_max": float(np.max(returns)),
            "episode_return_min": float(np.min(returns)),
            "episode_len_mean": float(np.mean(lengths)),
            "num_episodes": len(self._episodes) - before if before < _EPISODES else None,
            "num_env_steps_sampled_lifetime": self._steps,
        }
        by_module = self.config.policies is not None or self.uses_components
        learners = told if by_module else {"default_policy": told}
        result = {
            "episode_reward_mean": runners["episode_return_mean"],
            "episode_reward_max": runners["episode_return_max"],
            "episode_reward_min": runners["episode_return_min"],
            "episode_len_mean": runners["episode_len_mean"],
            "env_runners": runners,
            "learners": learners,
            "info": {"learner": learners},
            "num_env_steps_sampled_lifetime": self._steps,
            "timesteps_total": self._steps,
            "training_iteration": self._iteration,
            "time_this_iter_s": seconds,
            "time_total_s": self._seconds,
        }
        every = self.config.evaluation_interval
        if every and self._iteration % every == 0:
            result["evaluation"] = self.evaluate()
        self.callbacks("on_train_result", algorithm=self, result=result)
        return result

    def evaluate(self) -> dict[str, Any]:
        """Play `evaluation_duration` episodes or steps of an environment of its own, and learn nothing from them.

        Return the mean, greatest and least return and the mean length of the episodes that ended. The best actions are
        taken, unless `evaluation_config` says `explore`. Raises what environments raise.
        """
        config = self.config
        self.callbacks("on_evaluate_start", algorithm=self)
        told = played(
            self._make({**config.env_config, **config.evaluation_config.get("env_config", {})}),
            lambda seen: self.act(seen, config.evaluation_config.get("explore", False)),
            config.evaluation_duration,
            config.evaluation_duration_unit,
            config.seed,
            self.begin_episode,
        )
        metrics: dict[str, Any] = {"env_runners": told, "episode_reward_mean": told["episode_return_mean"]}
        self.callbacks("on_evaluate_end", algorithm=self, evaluation_metrics=metrics)
        return metrics

    def compute_single_action(self, observation: Any, explore: bool = True) -> Any:
        """Return an action for one observation: drawn, or without `explore` the most likely one."""
        return self.components.act(observation, explore)

    def begin_episode(self) -> None:  # noqa: B027  # most remember nothing
        """Be told that what `act` is asked next is of a new episode. Algorithms that remember override it."""

    def act(self, observation: Any, explore: bool) -> Any:
        """Return what an environment's `step` takes, for what it gave last."""
        return self.compute_single_action(observation, explore)

    def save(self, checkpoint_dir: str | os.PathLike[str]) -> str:
        """Write a checkpoint into a folder, which is made; return its path. It is whole or not there."""
        folder = Path(checkpoint_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "module": self.module_state(),
            "learner": self.learner_state(),
            "random": self._random.bit_generator.state,
        }
        unfinished = folder / ".state.pt.part"
        torch.save(state, unfinished)
        os.replace(unfinished, folder / "state.pt")
        about = {
            "version": _VERSION,
            "algorithm": type(self).__name__,
            "iteration": self._iteration,
            "steps": self._steps,
            "seconds": self._seconds,
            "episodes": list(self._episodes),
        }
        unfinished = folder / ".config.pkl.part"
        unfinished.write_bytes(cloudpickle.dumps(self.config))
        os.replace(unfinished, folder / "config.pkl")
        unfinished = folder / ".algorithm.json.part"
        unfinished.write_text(json.dumps(about))
        os.replace(unfinished, folder / "algorithm.json")
        return str(folder)

    def restore(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint. Raises FileNotFoundError, and ConfigError for another algorithm's or version's."""
        folder = Path(checkpoint_path)
        if not (folder / "algorithm.json").is_file():
            raise FileNotFoundError(f"{folder} holds no checkpoint: there is no algorithm.json")
        about = json.loads((folder / "algorithm.json").read_text())
        if about["algorithm"] != type(self).__name__ or about["version"] != _VERSION:
            raise ConfigError(
                f"{folder} is of {about['algorithm']}, version {about['version']}; this is {type(self).__name__}, "
                f"version {_VERSION}"
            )
        state = torch.load(folder / "state.pt", map_location=self.device, weights_only=True)
        try:
            self.set_module_state(state["module"])
        except RuntimeError as error:
            raise ConfigError(f"{folder} is of another network or environment: {error}") from error
        self.set_learner_state(state["learner"])
        self._random.bit_generator.state = state["random"]
        self._iteration, self._steps, self._seconds = about["iteration"], about["steps"], about["seconds"]
        self._episodes = deque(map(tuple, about["episodes"]), maxlen=_EPISODES)
        self.callbacks("on_checkpoint_loaded", algorithm=self)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str]) -> Algorithm:
        """Return the algorithm of a checkpoint, made with its settings, going on from there.

        The settings are unpickled: open only checkpoints whose writer you trust. Raises FileNotFoundError, and
        ConfigError for the checkpoint of another algorithm than the class that is asked.

        Example: `PPO.from_checkpoint("/tmp/checkpoint").train()`
        """
        file = Path(path) / "config.pkl"
        if not file.is_file():
            raise FileNotFoundError(f"{path} holds no checkpoint: there is no config.pkl")
        config: AlgorithmConfig = cloudpickle.loads(file.read_bytes())
        kind = config.algorithm_class()
        if kind is None or not issubclass(kind, cls):
            raise ConfigError(f"{path} is of {kind and kind.__name__}, which is no {cls.__name__}")
        made = config.build()
        try:
            made.restore(path)
        except BaseException:
            made.stop()
            raise
        return made

    def stop(self) -> None:
        """End the runners. Again does nothing."""
        self.components.stop()


@contextmanager
def _threads(size: int) -> Iterator[None]:
    """Let torch use one thread for a small network, as long as the block of a `with` lasts."""
    before = torch.get_num_threads()
    if size < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
