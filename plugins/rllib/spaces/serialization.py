"""Spaces and classes as plain values that can be stored as JSON."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Mapping
from typing import Any

import cloudpickle
import gymnasium
import numpy as np

from shoal.errors import ConfigError
from shoal.rllib.errors import NotSerializable
from shoal.rllib.spaces.flexdict import FlexDict
from shoal.rllib.spaces.repeated import Repeated
from shoal.rllib.spaces.simplex import Simplex


def gym_space_to_dict(space: Any) -> dict[str, Any]:
    """Return a space as a dictionary of plain values. Raises ConfigError for a kind that is not known.

    Example: `gym_space_to_dict(gymnasium.spaces.Discrete(3))  # {"space": "discrete", "n": 3, "start": 0}`
    """
    spaces = gymnasium.spaces
    if isinstance(space, spaces.Box):
        return {
            "space": "box",
            "low": _written(space.low),
            "high": _written(space.high),
            "shape": list(space.shape),
            "dtype": np.dtype(space.dtype).str,
        }
    if isinstance(space, spaces.Discrete):
        return {"space": "discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiBinary):
        count: Any = space.n
        return {"space": "multi-binary", "n": count if isinstance(count, int) else list(map(int, count))}
    if isinstance(space, spaces.MultiDiscrete):
        return {"space": "multi-discrete", "nvec": _written(space.nvec), "dtype": np.dtype(space.dtype).str}
    if isinstance(space, spaces.Text):
        return {
            "space": "text",
            "min_length": space.min_length,
            "max_length": space.max_length,
            "charset": "".join(sorted(space.character_set)),
        }
    if isinstance(space, Simplex):
        return {
            "space": "simplex",
            "shape": list(space.shape or ()),
            "concentration": _written(space.concentration),
            "dtype": np.dtype(space.dtype).str,
        }
    if isinstance(space, Repeated):
        return {
            "space": "repeated",
            "child_space": gym_space_to_dict(space.child_space),
            "max_len": space.max_len,
        }
    if isinstance(space, (FlexDict, spaces.Dict)):
        kind = "flex-dict" if isinstance(space, FlexDict) else "dict"
        return {
            "space": kind,
            "spaces": {name: gym_space_to_dict(each) for name, each in space.spaces.items()},
        }
    if isinstance(space, spaces.Tuple):
        return {"space": "tuple", "spaces": [gym_space_to_dict(each) for each in space.spaces]}
    raise ConfigError(f"a space of the kind {type(space).__name__} cannot be written as plain values")


def gym_space_from_dict(d: Mapping[str, Any]) -> gymnasium.Space[Any]:
    """Return the space that `gym_space_to_dict` wrote. Raises ConfigError for an unknown kind.

    Example: `gym_space_from_dict({"space": "discrete", "n": 3})  # Discrete(3)`
    """
    spaces = gymnasium.spaces
    kind = d.get("space")
    if kind == "box":
        low, high = _read(d["low"]), _read(d["high"])
        dtype: Any = np.dtype(d["dtype"]).type
        return spaces.Box(low, high, tuple(d["shape"]), dtype)
    if kind == "discrete":
        return spaces.Discrete(d["n"], start=d.get("start", 0))
    if kind == "multi-binary":
        return spaces.MultiBinary(d["n"])
    if kind == "multi-discrete":
        nvec = _read(d["nvec"])
        return spaces.MultiDiscrete(nvec, dtype=np.dtype(d["dtype"]).type)
    if kind == "text":
        return spaces.Text(d["max_length"], min_length=d["min_length"], charset=d["charset"])
    if kind == "simplex":
        return Simplex(d["shape"], _read(d["concentration"]), np.dtype(d["dtype"]).type)
    if kind == "repeated":
        return Repeated(gym_space_from_dict(d["child_space"]), d["max_len"])
    if kind in ("dict", "flex-dict"):
        parts = {name: gym_space_from_dict(each) for name, each in d["spaces"].items()}
        return FlexDict(parts) if kind == "flex-dict" else spaces.Dict(parts)
    if kind == "tuple":
        return spaces.Tuple([gym_space_from_dict(each) for each in d["spaces"]])
    raise ConfigError(f"{kind!r} is no kind of space that is known here")


def space_to_dict(space: gymnasium.Space[Any]) -> dict[str, Any]:
    """Do as `gym_space_to_dict`, with the `original_space` of a space that was made flat beside it.

    Example: `space_to_dict(gymnasium.spaces.Discrete(3))`
    """
    told = gym_space_to_dict(space)
    if hasattr(space, "original_space"):
        told["original_space"] = space_to_dict(space.original_space)
    return told


def space_from_dict(d: Mapping[str, Any]) -> gymnasium.Space[Any]:
    """Return the space that `space_to_dict` wrote.

    Example: `space_from_dict(space_to_dict(space)) == space`
    """
    space: Any = gym_space_from_dict(d)
    if "original_space" in d:
        space.original_space = space_from_dict(d["original_space"])
    found: gymnasium.Space[Any] = space
    return found


def serialize_type(type_: type | str) -> str:
    """Return a class's name with its module; text as it is.

    Example: `serialize_type(dict)  # "builtins.dict"`
    """
    return type_ if isinstance(type_, str) else f"{type_.__module__}.{type_.__qualname__}"


def deserialize_type(module: Any, error: bool = False) -> Any:
    """Return the class of a name with its module; what is no such name as it is, or with `error` raise ConfigError.

    Only classes are returned: the module is imported, and nothing is called.

    Example: `deserialize_type("collections.OrderedDict")`
    """
    if not isinstance(module, str):
        return module
    path, _, name = module.rpartition(".")
    try:
        found = getattr(importlib.import_module(path), name)
    except (ImportError, AttributeError, ValueError) as problem:
        if error:
            raise ConfigError(f"{module!r} is no class: {problem}") from problem
        return module
    return found


def convert_numpy_to_python_primitives(obj: Any) -> Any:
    """Return a structure whose numbers of NumPy are Python's, and whose arrays are lists.

    Example: `convert_numpy_to_python_primitives({"a": np.float32(1)})  # {"a": 1.0}`
    """
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, np.ndarray):
        return obj.tolist()
    if isinstance(obj, Mapping):
        return {name: convert_numpy_to_python_primitives(each) for name, each in obj.items()}
    return (
        [convert_numpy_to_python_primitives(each) for each in obj] if isinstance(obj, (list, tuple)) else obj
    )


def check_if_args_kwargs_serializable(args: Any, kwargs: Mapping[str, Any]) -> None:
    """Raise NotSerializable if an argument cannot be sent, and say which.

    Example: `check_if_args_kwargs_serializable((1,), {"a": 2})`
    """
    for place, value in [*enumerate(args), *kwargs.items()]:
        try:
            cloudpickle.dumps(value)
        except Exception as error:  # users' objects raise what they like when they are pickled
            raise NotSerializable(f"argument {place!r} cannot be sent: {error}") from error


def _written(array: Any) -> str:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return base64.b64encode(buffer.getvalue()).decode()


def _read(text: str) -> Any:
    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
