"""Frameworks that may not be there."""

from __future__ import annotations

import importlib
from typing import Any


def try_import_torch(error: bool = False) -> tuple[Any, Any]:
    """Return torch and torch.nn, or (None, None); with `error` raise ImportError.

    Example: `torch, nn = try_import_torch()`
    """
    return _tried("torch", error), _tried("torch.nn", error)


def try_import_tf(error: bool = False) -> tuple[Any, Any, Any]:
    """Return (the interface of version 1, TensorFlow, the version's number), or three times None.

    Example: `tf1, tf, version = try_import_tf()`
    """
    found = _tried("tensorflow", error)
    if found is None:
        return None, None, None
    return found.compat.v1, found, int(found.__version__.partition(".")[0])


def try_import_tfp(error: bool = False) -> Any:
    """Return tensorflow_probability, or None.

    Example: `tfp = try_import_tfp()`
    """
    return _tried("tensorflow_probability", error)


def try_import_jax(error: bool = False) -> tuple[Any, Any]:
    """Return jax and flax, or (None, None).

    Example: `jax, flax = try_import_jax()`
    """
    return _tried("jax", error), _tried("flax", error)


def try_import_msgpack(error: bool = False) -> Any:
    """Return msgpack, or None.

    Example: `msgpack = try_import_msgpack()`
    """
    return _tried("msgpack", error)


def try_import_pyspiel(error: bool = False) -> Any:
    """Return pyspiel, or None.

    Example: `pyspiel = try_import_pyspiel()`
    """
    return _tried("pyspiel", error)


def try_import_open_spiel(error: bool = False) -> Any:
    """Return open_spiel, or None.

    Example: `open_spiel = try_import_open_spiel()`
    """
    return _tried("open_spiel", error)


def is_package_installed(package_name: str) -> bool:
    """Return whether a package is there.

    Example: `is_package_installed("torch")`
    """
    import importlib.metadata

    try:
        importlib.metadata.version(package_name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _tried(name: str, error: bool) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        if error:
            raise
        return None
