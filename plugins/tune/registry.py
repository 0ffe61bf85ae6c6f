"""Trainables by name, and what is said of a trainable."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.trainable.function_trainable import FunctionTrainable, check_function, wrap_function
from shoal.tune.trainable.trainable import Trainable

__all__ = [
    "get_trainable_cls",
    "is_function_trainable",
    "register_env",
    "register_input",
    "register_trainable",
    "registered_environments",
    "registry_contains_input",
    "registry_get_input",
    "validate_trainable",
]

_trainables: dict[str, Any] = {}
_environments: dict[str, Callable[..., Any]] = {}
_inputs: dict[str, Callable[..., Any]] = {}


def register_trainable(name: str, trainable: Any, warn: bool = True) -> None:
    """Give a trainable a name, by which `Tuner` and `run` find it. Raises ConfigError for what is no trainable.

    Example: `tune.register_trainable("walk", Walk)`
    """
    check_trainable(trainable)
    _trainables[name] = trainable


def validate_trainable(trainable_name: str) -> None:
    """Raise ConfigError if no trainable has that name, neither a registered one nor one of an installed library."""
    from shoal.registry.discover import find
    from shoal.registry.groups import TUNE_TRAINABLES

    if trainable_name in _trainables:
        return
    installed = [one.name for one in find(TUNE_TRAINABLES)]
    if trainable_name not in installed:
        raise ConfigError(
            f"no trainable is named {trainable_name!r}; registered are: {', '.join(sorted(_trainables)) or 'none'}; "
            f"libraries have: {', '.join(sorted(installed)) or 'none'}. "
            "tune.register_trainable(name, trainable) adds one"
        )


def get_trainable_cls(trainable_name: str) -> type[Trainable]:
    """Return the class of that name; a function is wrapped in one. Raises ConfigError if there is none."""
    found = trainable_named(trainable_name)
    if not inspect.isclass(found):
        return wrap_function(found, trainable_name)
    assert issubclass(found, Trainable)  # as register_trainable has checked
    return found


def class_of(trainable: Any, name: str = "") -> type[Trainable]:
    """Return a trainable's class: itself, or one made of a function."""
    if inspect.isclass(trainable) and issubclass(trainable, Trainable):
        return trainable
    return wrap_function(trainable, name or None)


def trainable_named(name: str) -> Any:
    """Return what was registered under that name, or what a library has. Raises ConfigError if there is nothing.

    A library's trainables are entry points of the group `shoal.tune.trainables`: subclasses of Trainable.
    """
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import TUNE_TRAINABLES

    validate_trainable(name)
    return _trainables[name] if name in _trainables else load_driver(TUNE_TRAINABLES, name)


def is_function_trainable(trainable: Any) -> bool:
    """Return whether a trainable, or the one of that name, is a function."""
    found = trainable_named(trainable) if isinstance(trainable, str) else trainable
    if inspect.isclass(found):
        return issubclass(found, FunctionTrainable)
    return callable(found)


def check_trainable(trainable: Any) -> None:
    """Raise ConfigError for what is neither a function of the configuration nor a subclass of Trainable."""
    if inspect.isclass(trainable):
        if not issubclass(trainable, Trainable):
            raise ConfigError(f"{trainable.__name__} is no subclass of tune.Trainable")
        return
    if not callable(trainable):
        raise ConfigError(f"a trainable must be a function, a class or a trainer, not {describe(trainable)}")
    try:
        check_function(trainable)
    except TypeError as error:
        raise ConfigError(str(error)) from None


def name_of(trainable: Any) -> str:
    """Return what a trainable is called."""
    return str(getattr(trainable, "__name__", None) or type(trainable).__name__).strip("<>")


def source_of(trainable: Any) -> str:
    """Return a trainable's source text, or what else tells one version from another; empty if nothing does."""
    found = inspect.unwrap(trainable) if not inspect.isclass(trainable) else trainable
    found = getattr(found, "_function", found)
    try:
        return inspect.getsource(found)
    except (OSError, TypeError):
        code = getattr(found, "__code__", None)
        return (
            "" if code is None else hashlib.sha256(code.co_code + repr(code.co_consts).encode()).hexdigest()
        )


def registered_environments() -> dict[str, Callable[..., Any]]:
    """Return the environments that were given names, as functions of a configuration."""
    return dict(_environments)


def register_env(name: str, env_creator: Callable[..., Any]) -> None:
    """Give an environment of reinforcement learning a name, for `config.environment(name)` of shoal.rllib.

    Raises ConfigError for what is no function of a configuration.

    Example: `tune.register_env("corridor", lambda config: Corridor(config["length"]))`
    """
    if not callable(env_creator):
        raise ConfigError(f"env_creator must be a function, not {describe(env_creator)}")
    _environments[name] = env_creator


def register_input(name: str, input_creator: Callable[..., Any]) -> None:
    """Give a source of experiences a name. Raises ConfigError for what is no function."""
    if not callable(input_creator):
        raise ConfigError(f"input_creator must be a function, not {describe(input_creator)}")
    _inputs[name] = input_creator


def registry_contains_input(name: str) -> bool:
    """Return whether a source of experiences has that name."""
    return name in _inputs


def registry_get_input(name: str) -> Callable[..., Any]:
    """Return the source of experiences of that name. Raises ConfigError if there is none."""
    if name not in _inputs:
        raise ConfigError(
            f"no input is named {name!r}; registered are: {', '.join(sorted(_inputs)) or 'none'}"
        )
    return _inputs[name]
