"""Does a loaded object fit its group? Asked before anything is constructed, so that the answer can name the plugin."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError, PluginBroken, describe
from shoal.registry.discover import Found
from shoal.registry.groups import Group


def check(group: Group[Any], found: Found, target: Any) -> None:
    """Raise PluginBroken unless `target` is a complete class of the group's interface that bears the plugin's name."""
    if group.interface is None:
        return
    interface = group.interface
    wanted = f"a class that implements {interface.__module__}.{interface.__qualname__}"
    if not inspect.isclass(target):
        raise broken(group, found, f"must be {wanted}, but is {describe(target)}")
    if not issubclass(target, interface):
        bases = ", ".join(base.__name__ for base in target.__mro__[1:])
        raise broken(group, found, f"must be {wanted}, but its bases are {bases}")
    missing = sorted(getattr(target, "__abstractmethods__", ()))
    if missing:
        raise broken(group, found, f"must be {wanted}, but does not define {', '.join(missing)}")
    called = getattr(target, "name", None)
    if called != found.name:
        raise broken(group, found, f"is registered as {found.name!r}, but its `name` is {describe(called)}")


def check_options(group: Group[Any], name: str, target: Any, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for an option that the driver does not have.

    A driver tells its options by an attrs class named `Options` inside it; without one it judges them itself.
    """
    declared = getattr(target, "Options", None)
    if declared is None or not attrs.has(declared):
        return
    known = {field.name for field in attrs.fields(declared)}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ConfigError(
            f"{group.noun} {name!r} has no option {_quoted(unknown)}; "
            + (f"it has {_quoted(sorted(known))}" if known else "it has no options")
        )


def broken(group: Group[Any], found: Found, why: str) -> PluginBroken:
    """Make the error for one broken plugin: which one, whose, from where, and why."""
    return PluginBroken(f"{group.noun} {found.name!r} (group {group.name!r}, {found}) {why}")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
