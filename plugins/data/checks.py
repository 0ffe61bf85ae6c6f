"""Checks of parameters that many verbs have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from shoal.errors import describe


def check_count(name: str, value: Any, least: int = 1, *, optional: bool = True) -> None:
    """Raise ValueError, naming the parameter, unless it is a whole number of at least `least` (or None, if optional).

    Example: `check_count("batch_size", 256)`
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number ≥ {least}, not {describe(value)}")


def check_names(name: str, given: Any) -> list[str]:
    """Return names of columns as a list. Raises TypeError for anything but text, ValueError for doubles.

    Example: `check_names("cols", "id")  # ["id"]`
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) for each in names):
        raise TypeError(f"{name} must be the name of a column or a list of names, not {describe(given)}")
    if len(set(names)) != len(names):
        raise ValueError(f"{name} has a column twice: {', '.join(names)}")
    return list(names)


def need_names(names: Iterable[str], have: Sequence[str]) -> None:
    """Raise KeyError, naming what there is, if a column is not among those that there are.

    Example: `need_names(["x"], schema.names)`
    """
    missing = [name for name in names if name not in have]
    if missing:
        raise KeyError(f"there is no column {', '.join(map(repr, missing))}; there are {', '.join(have)}")


def need(module: str, what: str, package: str | None = None) -> Any:
    """Return a module that something cannot do without.

    Raises ImportError naming the package if it is not installed.

    Example: `need("deltalake", "read_delta")`
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise  # it is there, and lacks something itself
        named = package or module.partition(".")[0]
        raise ImportError(
            f"{what} needs the package {named}: pip install {named}", name=error.name
        ) from error
