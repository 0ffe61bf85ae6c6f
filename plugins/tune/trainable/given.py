"""What is given to trainables beside the configuration: values, and resources."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import shoal
from shoal.errors import ConfigError, describe
from shoal.tune.resources import PlacementGroupFactory, resources_of
from shoal.tune.trainable.trainable import Trainable

__all__ = ["RESOURCES", "with_parameters", "with_resources"]

RESOURCES = "__shoal_tune_resources__"


class _Given:
    """A function with values, which travel once for all trials."""

    def __init__(self, function: Callable[..., Any], refs: Mapping[str, Any]) -> None:
        self._function = function
        self._refs = dict(refs)
        self._values: dict[str, Any] | None = None
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, config: dict[str, Any]) -> Any:
        if self._values is None:  # once in each process
            names = list(self._refs)
            found = shoal.get([self._refs[name] for name in names], timeout=600.0)
            self._values = dict(zip(names, found, strict=True))
        return self._function(config, **self._values)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_values": None}


def with_parameters(trainable: Any, **kwargs: Any) -> Any:
    """Return a trainable that is given values beside the configuration: data sets, say. They are stored once.

    Parameters: `trainable` is a function, given them as keyword arguments, or a class, whose `setup` is.
    Raises ConfigError for a trainable that is neither, or for a name that the function does not take.

    Example: `Tuner(tune.with_parameters(train, data=frame), param_space={"lr": tune.uniform(0, 1)})`
    """
    if not callable(trainable):
        raise ConfigError(f"with_parameters takes a function or a class, not {describe(trainable)}")
    refs = {name: shoal.put(value) for name, value in kwargs.items()}
    if inspect.isclass(trainable):
        if not issubclass(trainable, Trainable):
            raise ConfigError(f"{trainable.__name__} is no subclass of tune.Trainable")
        base: Any = trainable

        class Given(base):  # type: ignore[misc]
            """The class with values."""

            def setup(self, config: dict[str, Any], **more: Any) -> None:
                found = shoal.get(list(refs.values()), timeout=600.0)
                super().setup(config, **dict(zip(refs, found, strict=True)), **more)

        Given.__name__ = Given.__qualname__ = trainable.__name__
        return Given
    _check_names(trainable, list(kwargs))
    given = _Given(trainable, refs)
    resources = getattr(trainable, RESOURCES, None)
    if resources is not None:
        setattr(given, RESOURCES, resources)
    return given


def _check_names(function: Callable[..., Any], names: list[str]) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of C
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    unknown = [name for name in names if name not in parameters]
    if unknown:
        raise ConfigError(
            f"{getattr(function, '__name__', function)} has no parameter {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(parameters)}"
        )


class _Resourced:
    """A function with resources."""

    def __init__(self, function: Callable[..., Any], resources: Any) -> None:
        self._function = function
        functools.update_wrapper(self, function, updated=())
        setattr(self, RESOURCES, resources)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


def with_resources(trainable: Any, resources: Any) -> Any:
    """Return a trainable each of whose trials gets these resources.

    Parameters: `resources` is a mapping such as {"cpu": 2, "gpu": 0.5}, a PlacementGroupFactory, a ScalingConfig, or a
    function from the configuration to one of these.
    Raises ConfigError for what is none.

    Example: `tune.with_resources(train, {"cpu": 2})`
    """
    if not callable(trainable):
        raise ConfigError(f"with_resources takes a function or a class, not {describe(trainable)}")
    if not callable(resources) or isinstance(resources, PlacementGroupFactory):
        resources = resources_of(resources)
    if inspect.isclass(trainable):
        if not issubclass(trainable, Trainable):
            raise ConfigError(f"{trainable.__name__} is no subclass of tune.Trainable")
        base: Any = trainable

        class Resourced(base):  # type: ignore[misc]
            """The class with resources."""

            @classmethod
            def default_resource_request(cls, config: dict[str, Any]) -> Any:
                return resources(config) if callable(resources) else resources

        Resourced.__name__ = Resourced.__qualname__ = trainable.__name__
        return Resourced
    return _Resourced(trainable, resources)
