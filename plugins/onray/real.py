"""The one door to Ray. It is imported when the engine starts and never before, and only if it is the real one."""

from __future__ import annotations

import importlib
from typing import Any

from shoal.errors import ConfigError


def load_ray() -> Any:
    """Return the module `ray`.

    Raises ConfigError if it is not installed, or if `shoal.compat` has put its alias in the place of that name.

    Example: `load_ray().is_initialized()`
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            f"engine 'ray' needs Ray, and it cannot be imported ({error}); "
            "install it (`pip install ray`), or choose engine='native'"
        ) from error
    if not hasattr(
        getattr(ray, "_raylet", None), "CoreWorker"
    ):  # the alias has only names for annotations there
        raise ConfigError(
            "engine 'ray' needs Ray itself, but `import ray` gives the alias of shoal.compat in this process; "
            "call shoal.compat.uninstall() first, or write the program with `import shoal`"
        )
    return ray


def part(name: str) -> Any:
    """Return the module `ray.NAME`.

    Example: `part("exceptions").RayError`
    """
    return importlib.import_module(f"ray.{name}")
