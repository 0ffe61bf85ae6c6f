"""Configurations as mappings from settings' names to values, frozen ones, and ones as plain values."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from shoal.errors import ConfigError

C = TypeVar("C", bound="ConfigMapping")


class ConfigMapping:
    """What configurations can do as mappings. `AlgorithmConfig` is made of it."""

    if TYPE_CHECKING:
        _settings: dict[str, Any]

        def copy(self: C, copy_frozen: bool | None = None) -> C: ...

        def update_from_dict(self: C, config_dict: Mapping[str, Any]) -> C: ...

        def to_dict(self) -> dict[str, Any]: ...

        def present_name(self, name: str) -> str: ...

    _is_frozen = False

    def __getitem__(self, item: str) -> Any:
        """Return a setting. Raises KeyError if there is none of that name."""
        try:
            return getattr(self, item)
        except AttributeError as error:
            raise KeyError(str(error)) from error

    def __setitem__(self, key: str, value: Any) -> None:
        """Change a setting. Raises ConfigError for an unknown name or a wrong value."""
        self.update_from_dict({key: value})

    def __contains__(self, item: object) -> bool:
        return isinstance(item, str) and self.present_name(item) in self._settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a setting, or `default` if there is none of that name."""
        return self[key] if key in self else default  # noqa: SIM401  # older names too

    def pop(self, key: str, default: Any = None) -> Any:
        """Return a setting, or `default`, and put it back to what it is by default."""
        value = self.get(key, default)
        if key in self:
            fresh = type(self)()
            self._settings[self.present_name(key)] = fresh._settings[self.present_name(key)]
        return value

    def keys(self) -> Any:
        """Return the names of all settings."""
        return self._settings.keys()

    def values(self) -> Any:
        """Return all settings' values."""
        return self._settings.values()

    def items(self) -> Any:
        """Return (name, value) of all settings."""
        return self._settings.items()

    def freeze(self) -> None:
        """Let nothing be changed from now on; `copy(copy_frozen=False)` may be."""
        self._is_frozen = True

    @classmethod
    def overrides(cls, **kwargs: Any) -> dict[str, Any]:
        """Return settings by name, checked. Raises ConfigError for unknown ones.

        Example: `PPOConfig.overrides(lr=1e-4)`
        """
        made = cls().update_from_dict(kwargs)
        return {made.present_name(name): made[name] for name in kwargs}

    def get_state(self) -> dict[str, Any]:
        """Return the class and all settings: what `from_state` takes, which must be sent or stored whole."""
        return {"class": type(self), "settings": copy.deepcopy(self._settings)}

    @classmethod
    def from_state(cls: type[C], state: Mapping[str, Any]) -> C:
        """Return the configuration whose state `get_state` gave. Raises ConfigError if it is of another class."""
        kind = state["class"]
        if not issubclass(kind, cls):
            raise ConfigError(f"this state is of {kind.__name__}, which is no {cls.__name__}")
        made: C = kind()
        made._settings = copy.deepcopy(dict(state["settings"]))
        return made

    def serialize(self) -> dict[str, Any]:
        """Return all settings as plain values that JSON can hold: classes and functions are their names.

        Not all of it can be read back; `get_state` is for that.
        """
        plain: dict[str, Any] = _plain(self._settings)
        return plain

    @property
    def is_multi_agent(self) -> bool:
        """Whether there are policies for several agents."""
        return self._settings["policies"] is not None

    @property
    def is_offline(self) -> bool:
        """Whether it learns from recorded episodes."""
        return self._settings.get("input_") is not None

    @property
    def is_online(self) -> bool:
        """Whether it learns from what it plays."""
        return not self.is_offline

    @property
    def is_atari(self) -> bool:
        """Whether the environment is a game of Atari's."""
        from shoal.rllib.wrappers.atari_wrappers import is_atari

        env = self._settings["env"]
        return isinstance(env, str) and is_atari(env)

    @property
    def num_rollout_workers(self) -> int:
        """`num_env_runners`, as it was named before."""
        return int(self._settings["num_env_runners"])

    @property
    def num_envs_per_worker(self) -> int:
        """`num_envs_per_env_runner`, as it was named before."""
        return int(self._settings["num_envs_per_env_runner"])

    @property
    def num_cpus_per_worker(self) -> float:
        """`num_cpus_per_env_runner`, as it was named before."""
        return float(self._settings["num_cpus_per_env_runner"])

    @property
    def num_learner_workers(self) -> int:
        """`num_learners`, as it was named before."""
        return int(self._settings["num_learners"])

    @property
    def num_cpus_per_learner_worker(self) -> float:
        """`num_cpus_per_learner`, as it was named before."""
        return float(self._settings["num_cpus_per_learner"])

    @property
    def num_gpus_per_learner_worker(self) -> float:
        """`num_gpus_per_learner`, as it was named before."""
        return float(self._settings["num_gpus_per_learner"])

    @property
    def total_train_batch_size(self) -> int:
        """How many steps all learners learn from in an iteration."""
        return int(self._settings["train_batch_size"])

    def _refuse_if_frozen(self) -> None:
        if self._is_frozen:
            raise ConfigError("this configuration is frozen: change a copy, config.copy(copy_frozen=False)")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    named = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{named}" if named else repr(value)
