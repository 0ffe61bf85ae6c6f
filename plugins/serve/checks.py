"""Checks of what users give, each with a text that says what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from shoal.errors import ConfigError, describe


def whole(least: int, *, optional: bool = False, also: tuple[int, ...] = ()) -> Callable[..., None]:
    """Return a validator of attrs for whole numbers."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if (optional and value is None) or (type(value) is int and (value >= least or value in also)):
            return
        raise ConfigError(f"{attribute.name} must be a whole number ≥ {least}, not {describe(value)}")

    return check


def number(
    least: float = 0.0, *, above: bool = False, optional: bool = False, most: float = math.inf
) -> Callable[..., None]:
    """Return a validator of attrs for finite numbers."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if optional and value is None:
            return
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if good and (value > least if above else value >= least) and value <= most:
            return
        bound = f"{'>' if above else '≥'} {least:g}" + (f" and ≤ {most:g}" if most < math.inf else "")
        raise ConfigError(f"{attribute.name} must be a number {bound}, not {describe(value)}")

    return check


def text(*, optional: bool = False, empty: bool = False) -> Callable[..., None]:
    """Return a validator of attrs for text."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if (optional and value is None) or (isinstance(value, str) and (value or empty)):
            return
        raise ConfigError(f"{attribute.name} must be text, not {describe(value)}")

    return check


def flag(instance: Any, attribute: Any, value: Any) -> None:
    """A validator of attrs for True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{attribute.name} must be True or False, not {describe(value)}")


def one_of(*allowed: Any) -> Callable[..., None]:
    """Return a validator of attrs for a choice."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value not in allowed:
            names = ", ".join(repr(each) for each in allowed)
            raise ConfigError(f"{attribute.name} must be one of {names}, not {describe(value)}")

    return check


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return a mapping with names as keys as a dict. Raises ConfigError."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{what} must be a mapping with names as keys, not {describe(value)}")
    return dict(value)


def route_prefix(value: Any) -> str | None:
    """Return a route prefix in its one form: None, "/" or "/a/b" without a slash at the end. Raises ConfigError."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith("/"):
        raise ConfigError(
            f"route_prefix must begin with a slash, such as '/classify', not {describe(value)}; None is no route"
        )
    if "{" in value or "}" in value or "?" in value or "#" in value:
        raise ConfigError(
            f"route_prefix {value!r} has one of {{}}?#: it is plain text, put patterns into an ingress"
        )
    return value.rstrip("/") or "/"
