"""Which way is better: checks of `metric` and `mode`."""

from __future__ import annotations

from typing import Any

from shoal.errors import ConfigError, describe


def check_mode(mode: Any, optional: bool = True) -> None:
    """Raise ConfigError for a mode that is neither "max" nor "min", nor None if it is optional.

    Example: `check_mode("max")`
    """
    if not (mode is None and optional) and mode not in ("max", "min"):
        raise ConfigError(f"mode must be 'max' or 'min', not {describe(mode)}")


def check_modes(metric: Any, mode: Any) -> None:
    """Raise ConfigError for modes that are not "max" or "min", or not as many as metrics.

    Example: `check_modes(["loss", "size"], ["min", "min"])`
    """
    modes = [mode] if isinstance(mode, str) or mode is None else list(mode)
    for each in modes:
        check_mode(each)
    if isinstance(metric, (list, tuple)) and mode is not None and len(metric) != len(modes):
        raise ConfigError(f"there are {len(metric)} metrics but {len(modes)} modes: give one mode for each")
