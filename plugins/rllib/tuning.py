"""Algorithms as what trials of shoal.tune run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import shoal
from shoal.errors import ConfigError
from shoal.tune.registry import registered_environments
from shoal.tune.resources import PlacementGroupFactory
from shoal.tune.trainable.trainable import Trainable

if TYPE_CHECKING:
    from shoal.rllib.algorithms.algorithm import Algorithm
    from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig


class AlgorithmTrainable(Trainable):
    """Trains an algorithm: a step is an iteration, a checkpoint the algorithm's. Made by `trainable_of`.

    A trial holds the CPUs of all its env runners, as many of them as the cluster has.
    """

    home = ""  # the module and the name of the algorithm: it is imported when a trial is to run it

    @classmethod
    def config_class(cls) -> type[AlgorithmConfig]:
        """Return the class of the algorithm's settings. Raises ConfigError if no configuration names it."""
        from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig

        module, _, name = cls.home.partition(":")
        algorithm = getattr(import_module(module), name)
        found = _config_of(algorithm, AlgorithmConfig)
        if found is None:
            raise ConfigError(
                f"no configuration names {name}: set the algo_class of a subclass of AlgorithmConfig"
            )
        return found

    def setup(self, config: dict[str, Any]) -> None:
        """Build the algorithm."""
        settings = {**config, "num_cpus_per_env_runner": 0}  # the trial holds what they need
        self.algorithm: Algorithm = self.config_class().from_dict(settings).build()

    def step(self) -> dict[str, Any]:
        """Do one iteration."""
        result = self.algorithm.train()
        result.pop("info")
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the algorithm's checkpoint."""
        self.algorithm.save(checkpoint_dir)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from an algorithm's checkpoint."""
        self.algorithm.restore(checkpoint)

    def cleanup(self) -> None:
        """End the runners."""
        self.algorithm.stop()

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """Return the CPUs of the learner or of all runners, whichever are more, and the learner's GPUs."""
        settings = cls.config_class().from_dict(config)
        wanted = max(1.0, settings.num_env_runners * float(settings.num_cpus_per_env_runner))
        have = shoal.cluster_resources().get("CPU", wanted) if shoal.is_initialized() else wanted
        gpus = {"GPU": settings.num_gpus} if settings.num_gpus else {}
        return PlacementGroupFactory([{"CPU": min(wanted, have), **gpus}])

    @classmethod
    def prepare_space(cls, space: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check the settings' names, and send along what makes an environment that only this program has named."""
        from shoal.rllib.algorithms.algorithm_config import is_searched

        settings = cls.config_class()()
        settings.update_from_dict({name: value for name, value in space.items() if not is_searched(value)})
        if isinstance(settings.env, str) and settings.env in registered_environments():
            return {**space, "env": registered_environments()[settings.env]}
        return space


@cache
def trainable_of(algorithm: type[Algorithm]) -> type[AlgorithmTrainable]:
    """Return the trainable of an algorithm. Raises ConfigError for one that no configuration names.

    Example: `trainable_of(PPO).config_class()  # PPOConfig`
    """
    name = algorithm.__name__
    own = name in _HOME_OF and algorithm.__module__.startswith("shoal.rllib.")
    made: type[AlgorithmTrainable] = (
        globals()[name] if own else _made(name, f"{algorithm.__module__}:{algorithm.__qualname__}")
    )
    made.config_class()
    return made


def _made(name: str, home: str) -> type[AlgorithmTrainable]:
    return type(name, (AlgorithmTrainable,), {"home": home, "__module__": __name__})


def _config_of(algorithm: type[Algorithm], kind: type[AlgorithmConfig]) -> type[AlgorithmConfig] | None:
    for each in kind.__subclasses__():
        if each.__dict__.get("algo_class") is algorithm:
            return each
        found = _config_of(algorithm, each)
        if found is not None:
            return found
    return None


_HOME_OF = {
    "A2C": "a2c",
    "A3C": "a3c",
    "APPO": "appo",
    "ARS": "ars",
    "ApexDDPG": "apex_ddpg",
    "ApexDQN": "apex_dqn",
    "BC": "bc",
    "CQL": "cql",
    "DDPG": "ddpg",
    "DQN": "dqn",
    "Dreamer": "dreamer",
    "DreamerV3": "dreamerv3",
    "ES": "es",
    "IMPALA": "impala",
    "IQL": "iql",
    "MADDPG": "maddpg",
    "MAPPO": "mappo",
    "MARWIL": "marwil",
    "MBMPO": "mbmpo",
    "PPO": "ppo",
    "QMIX": "qmix",
    "Rainbow": "rainbow",
    "SAC": "sac",
    "TD3": "td3",
    "VDN": "vdn",
}


# Entry points name these; without the extra `rllib` they are there too, and say what they need when they are used.
globals().update(
    {name: _made(name, f"shoal.rllib.algorithms.{folder}:{name}") for name, folder in _HOME_OF.items()}
)
