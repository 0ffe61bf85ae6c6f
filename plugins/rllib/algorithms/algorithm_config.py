"""What an algorithm is told: settings in families, each a method that returns the configuration itself."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.component_config import COMPONENTS, ComponentConfig
from shoal.rllib.algorithms.config_mapping import ConfigMapping
from shoal.rllib.callbacks.callbacks import MOMENTS, Callbacks
from shoal.rllib.multi_agent.policies import specs_of

if TYPE_CHECKING:
    from shoal.rllib.algorithms.algorithm import Algorithm

C = TypeVar("C", bound="AlgorithmConfig")

# Names that settings had before, and their present ones.
OLDER = {
    "lambda": "lambda_",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_rollout_workers": "num_env_runners",
    "num_sgd_iter": "num_epochs",
    "num_workers": "num_env_runners",
    "sgd_minibatch_size": "minibatch_size",
    "train_batch_size_per_learner": "train_batch_size",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
}

MODEL = {"fcnet_hiddens": (256, 256), "fcnet_activation": "tanh", "vf_share_layers": False}


class AlgorithmConfig(ConfigMapping, ComponentConfig):
    """Settings of an algorithm. Each family of settings is a method with the settings' names; all of them may be read.

    Unknown settings raise ConfigError with the nearest name that there is, wrong values with what is allowed.

    Example: `PPOConfig().environment("CartPole-v1").training(lr=3e-4).env_runners(num_env_runners=2).build()`
    """

    algo_class: type[Algorithm] | None = None

    families: Mapping[str, Mapping[str, Any]] = {
        "environment": {"env": None, "env_config": {}, "clip_rewards": None, "clip_actions": False},
        "framework": {"framework": "torch"},
        "training": {
            "gamma": 0.99,
            "lr": 1e-3,
            "grad_clip": None,
            "train_batch_size": 32,
            "model": MODEL,
            **COMPONENTS["training"],
        },
        "rl_module": COMPONENTS["rl_module"],
        "learners": COMPONENTS["learners"],
        "env_runners": {
            "num_env_runners": 0,
            "num_envs_per_env_runner": 1,
            "num_cpus_per_env_runner": 1,
            "rollout_fragment_length": "auto",
            "sample_timeout_s": 60.0,
            "max_requests_in_flight_per_env_runner": 1,
            **COMPONENTS["env_runners"],
        },
        "resources": {"num_gpus": 0},
        "reporting": {"min_time_s_per_iteration": 0.0, "min_sample_timesteps_per_iteration": 0},
        "evaluation": {
            "evaluation_interval": None,
            "evaluation_duration": 10,
            "evaluation_duration_unit": "episodes",
            "evaluation_config": {},
        },
        "multi_agent": {"policies": None, "policy_mapping_fn": None, "policies_to_train": None},
        "callbacks": {"callbacks_class": None, **dict.fromkeys(MOMENTS)},
        "debugging": {"seed": None},
    }

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        self._algo_class = algo_class or type(self).algo_class
        self._settings: dict[str, Any] = {
            name: copy.deepcopy(value) for family in self.families.values() for name, value in family.items()
        }

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("_settings", {})
        known = OLDER.get(name, name)
        if known in settings:
            return settings[known]
        raise AttributeError(f"{type(self).__name__} has no setting {name!r}")

    def environment(self: C, env: Any = None, **settings: Any) -> C:
        """Say what is played: `env` (a name, a class, a function), `env_config` (what it is made with), `clip_rewards`
        (a bound, or True for 1), `clip_actions` (into the space of actions)."""
        if env is not None:
            settings["env"] = env
        return self._set("environment", settings)

    def framework(self: C, framework: str = "torch", **settings: Any) -> C:
        """Say what networks are made of; there is "torch"."""
        return self._set("framework", {"framework": framework, **settings})

    def training(self: C, **settings: Any) -> C:
        """Say how it learns: `gamma`, `lr`, `grad_clip`, `train_batch_size` (steps), `model` (`fcnet_hiddens`,
        `fcnet_activation`, `vf_share_layers`), `grad_clip_by` ("value", "norm" or "global_norm"), the algorithm's own
        settings, and those of `learners`, where they were before."""
        moved = {name: settings.pop(name) for name in list(settings) if name in self.families["learners"]}
        self._set("learners", moved)
        return self._set("training", settings)

    def env_runners(self: C, **settings: Any) -> C:
        """Say who plays: `num_env_runners` actors (0: this process), `num_envs_per_env_runner`,
        `num_cpus_per_env_runner`, `rollout_fragment_length` (steps of each environment in one request), and
        `sample_timeout_s` (seconds).

        For algorithms of components, also `env_to_module_connector` and `module_to_env_connector` (functions of the
        environment, the spaces and the device that return a piece or several, before the default ones unless
        `add_default_connectors_to_…_pipeline` is False), `explore`, `batch_mode` ("truncate_episodes" or
        "complete_episodes"), `episode_lookback_horizon` (steps that pieces of episodes have to look back at),
        `episodes_to_numpy`, `env_runner_cls`, and `max_requests_in_flight_per_env_runner`."""
        return self._set("env_runners", settings)

    def rollouts(self: C, **settings: Any) -> C:
        """Do as `env_runners`, under the names that these settings had before."""
        return self._set("env_runners", settings)

    def resources(self: C, **settings: Any) -> C:
        """Say what the learner uses: `num_gpus`."""
        runners = {key: settings.pop(key) for key in list(settings) if key == "num_cpus_per_worker"}
        self._set("env_runners", runners)
        return self._set("resources", settings)

    def rl_module(self: C, *, model_config: Mapping[str, Any] | None = None, rl_module_spec: Any = None) -> C:
        """Say what network there is: `model_config` has the keys of `model` in `training`, those that are given;
        `rl_module_spec` is a module of one's own, and how it is made (`shoal.rllib.core.rl_module.RLModuleSpec`)."""
        if rl_module_spec is not None:
            self._set("rl_module", {"rl_module_spec": rl_module_spec})
        if model_config is None:
            return self
        return self._set("training", {"model": {**self._settings["model"], **model_config}})

    def reporting(self: C, **settings: Any) -> C:
        """Say how long an iteration is at least: `min_time_s_per_iteration`, `min_sample_timesteps_per_iteration`."""
        return self._set("reporting", settings)

    def evaluation(self: C, **settings: Any) -> C:
        """Say how it is tested: `evaluation_interval` (iterations between evaluations; None: only by `evaluate()`),
        `evaluation_duration` and its `evaluation_duration_unit` ("episodes" or "timesteps"), and `evaluation_config`:
        `explore` (False unless it says so) and `env_config` of the environment that is played."""
        return self._set("evaluation", settings)

    def callbacks(self: C, callbacks_class: Any = None, **functions: Any) -> C:
        """Say what is called at which moment: `callbacks_class` (a subclass of `shoal.rllib.callbacks.RLlibCallback`,
        or several), or functions by the names of its methods, such as `on_train_result`."""
        if callbacks_class is not None:
            functions["callbacks_class"] = callbacks_class
        self._set("callbacks", functions)
        Callbacks(self.callbacks_class, self.moments())
        return self

    def moments(self) -> dict[str, Any]:
        """Return the functions that are called, by the moments' names."""
        return {name: self._settings[name] for name in MOMENTS if self._settings[name] is not None}

    def multi_agent(self: C, **settings: Any) -> C:
        """Say who plays which agents: `policies` (names, or `PolicySpec`s by name), `policy_mapping_fn` (from an agent,
        the episode and more by name to a policy's name; None: the only policy, or an agent's own name), and
        `policies_to_train` (names; None: all)."""
        return self._set("multi_agent", settings)

    def debugging(self: C, **settings: Any) -> C:
        """Say what makes runs alike: `seed`."""
        return self._set("debugging", settings)

    def copy(self: C, copy_frozen: bool | None = None) -> C:
        """Return a configuration of its own, equal to this one; frozen if it is (None), or as `copy_frozen` says."""
        made = type(self)(self._algo_class)
        made._settings = copy.deepcopy(self._settings)
        if self._is_frozen if copy_frozen is None else copy_frozen:
            made.freeze()
        return made

    def present_name(self, name: str) -> str:
        """Return the name that a setting has now."""
        return OLDER.get(name, name)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings by their names."""
        return copy.deepcopy(self._settings)

    def update_from_dict(self: C, config_dict: Mapping[str, Any]) -> C:
        """Take settings by their names, whichever family they are of. Raises ConfigError as the families do."""
        for name, value in config_dict.items():
            present = OLDER.get(name, name)
            family = next((each for each, names in self.families.items() if present in names), "training")
            if value is not None or self._settings.get(present) is not None:
                self._set(family, {name: value})
        return self

    @classmethod
    def from_dict(cls: type[C], config_dict: Mapping[str, Any]) -> C:
        """Return a configuration with these settings, the others as they are by default."""
        return cls().update_from_dict(config_dict)

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        if self.env is None:
            raise ConfigError('no environment is named: config.environment("CartPole-v1")')
        if self.policies is not None:
            if self._algo_class is not None and not self._algo_class.takes_several_agents:
                raise ConfigError(f"{self._algo_class.__name__} plays one agent only; PPO plays several")
            unknown = [name for name in self.policies_to_train or () if name not in self.policies]
            if unknown:
                raise ConfigError(
                    f"policies_to_train has {', '.join(unknown)}; policies are {', '.join(self.policies)}"
                )

    def build(self, env: Any = None) -> Algorithm:
        """Return the algorithm, ready to train. Raises ConfigError for settings that are wrong."""
        made = self.copy(copy_frozen=False)
        if env is not None:
            made.environment(env)
        searched = [name for name, value in made._settings.items() if is_searched(value)]
        if searched:
            raise ConfigError(
                f"{', '.join(searched)}: a space to search; hand the configuration to tune.Tuner as param_space"
            )
        made.validate()
        kind = made.algorithm_class()
        if kind is None:
            raise ConfigError("which algorithm? Use its own configuration, such as PPOConfig()")
        told = made.told_components()
        if told and not kind.uses_components:
            raise ConfigError(
                f"{kind.__name__} is not put together from components: {', '.join(told)} does nothing"
            )
        algorithm = kind(made)
        algorithm.callbacks("on_algorithm_init", algorithm=algorithm)
        return algorithm

    def algorithm_class(self) -> type[Algorithm] | None:
        """Return the class of the algorithm that these settings make."""
        return self._algo_class

    def made_callbacks(self) -> Callbacks:
        """Return the callbacks, made anew."""
        return Callbacks(self.callbacks_class, self.moments())

    def build_algo(self, env: Any = None, use_copy: bool = True) -> Algorithm:
        """Do as `build`; without `use_copy` these settings are frozen."""
        made = self.build(env)
        if not use_copy:
            self.freeze()
        return made

    def _set(self: C, family: str, given: Mapping[str, Any]) -> C:
        known = self.families[family]
        self._refuse_if_frozen()
        for name, value in given.items():
            present = OLDER.get(name, name)
            if present not in known:
                raise ConfigError(self._unknown(family, name))
            self._settings[present] = value if is_searched(value) else self._checked(present, value)
        return self

    def _unknown(self, family: str, name: str) -> str:
        elsewhere = [other for other, names in self.families.items() if OLDER.get(name, name) in names]
        if elsewhere:
            return f"{name} is a setting of .{elsewhere[0]}(), not of .{family}()"
        near = difflib.get_close_matches(name, [*self.families[family], *OLDER], 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return (
            f".{family}() has no setting {name!r}{meant} It has: {', '.join(sorted(self.families[family]))}"
        )

    def _checked(self, name: str, value: Any) -> Any:
        if name == "framework" and value != "torch":
            raise ConfigError(f'framework must be "torch", not {describe(value)}')
        if name == "model":
            unknown = set(value) - set(MODEL)
            if unknown:
                raise ConfigError(
                    f"model has no setting {', '.join(sorted(unknown))}; it has {', '.join(MODEL)}"
                )
            return {**MODEL, **value}
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ConfigError(f"{name} must be one of {', '.join(_CHOICES[name])}, not {describe(value)}")
        if name == "evaluation_duration_unit" and value not in ("episodes", "timesteps"):
            raise ConfigError(f'{name} must be "episodes" or "timesteps", not {describe(value)}')
        if name == "evaluation_config" and set(value) - {"explore", "env_config"}:
            raise ConfigError(f"evaluation_config has explore and env_config, not {', '.join(value)}")
        if name == "policies" and value is not None:
            return specs_of(value)
        if name == "policy_mapping_fn" and value is not None and not callable(value):
            raise ConfigError(f"policy_mapping_fn must be a function of an agent, not {describe(value)}")
        if name == "clip_rewards":
            return 1.0 if value is True else (None if value is False else value)
        if name in _LEAST and not (value is None and name in _MAY_BE_NONE):
            least = _LEAST[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
                raise ConfigError(f"{name} must be a number ≥ {least}, not {describe(value)}")
        return value


def is_searched(value: Any) -> bool:
    """Return whether a setting is a space that shoal.tune is to search."""
    return type(value).__module__.startswith("shoal.tune.") or (
        isinstance(value, Mapping) and set(value) == {"grid_search"}
    )


_LEAST = {
    "evaluation_duration": 1,
    "evaluation_interval": 1,
    "gamma": 0,
    "grad_clip": 0,
    "lr": 0,
    "max_requests_in_flight_per_env_runner": 1,
    "min_sample_timesteps_per_iteration": 0,
    "min_time_s_per_iteration": 0,
    "minibatch_size": 1,
    "episode_lookback_horizon": 0,
    "num_cpus_per_env_runner": 0,
    "num_cpus_per_learner": 0,
    "num_gpus_per_learner": 0,
    "num_learners": 0,
    "num_env_runners": 0,
    "num_envs_per_env_runner": 1,
    "num_epochs": 1,
    "num_gpus": 0,
    "sample_timeout_s": 0,
    "seed": 0,
    "train_batch_size": 1,
}
_CHOICES = {
    "batch_mode": ("truncate_episodes", "complete_episodes"),
    "grad_clip_by": ("value", "norm", "global_norm"),
}
_MAY_BE_NONE = ("evaluation_interval", "grad_clip", "seed", "minibatch_size")
