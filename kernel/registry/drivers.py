"""Drivers: plugins that a name chooses. Asked for by name, a plugin that fails fails at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import attrs

from shoal.errors import PluginError, PluginNotFound
from shoal.registry.check import broken, check, check_options
from shoal.registry.discover import Found, find, load, refuse_doubles
from shoal.registry.groups import GROUPS, Group

T = TypeVar("T")


@attrs.frozen
class Failure:
    """A plugin that was found by looking round and cannot be used; `shoal plugins` shows it."""

    found: Found
    error: Exception


def load_driver(group: Group[T], name: str, options: Mapping[str, Any] | None = None) -> type[T]:
    """Return the class that is registered under `name`, checked against its interface; nothing is constructed.

    Raises PluginNotFound naming what is installed, PluginBroken with the cause chained, and ConfigError for an
    option that the driver does not declare.

    Example: `load_driver(SCHEDULERS, "hybrid")` is `HybridScheduler`.
    """
    found = find(group)
    matching = [one for one in found if one.name == name]
    if not matching:
        raise _not_found(group, name, [one.name for one in found])
    refuse_doubles(group, matching)
    target = load_found(group, matching[0])
    check_options(group, name, target, options or {})
    return target


def load_drivers(group: Group[T], names: Iterable[str]) -> dict[str, type[T]]:
    """Return the classes registered under these names, in order. Raises as `load_driver` does."""
    return {name: load_driver(group, name) for name in names}


def load_all(group: Group[T]) -> tuple[dict[str, type[T]], list[Failure]]:
    """Return every plugin of a group that works, by name, and those that do not. Raises PluginBroken for doubles."""
    found = find(group)
    refuse_doubles(group, found)
    working: dict[str, type[T]] = {}
    failures: list[Failure] = []
    for one in found:
        try:
            working[one.name] = load_found(group, one)
        except PluginError as error:
            failures.append(Failure(one, error))
    return working, failures


def load_found(group: Group[T], found: Found) -> type[T]:
    """Import and check one registration. Raises PluginBroken, with what the plugin's module raised as its cause."""
    try:
        target = load(found)
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything
        why = f"cannot be imported: {type(error).__name__}: {error}. {_cure(found, error)}"
        raise broken(group, found, why) from error
    check(group, found, target)
    loaded: type[T] = target
    return loaded


def _not_found(group: Group[Any], name: str, installed: list[str]) -> PluginError:
    if not any(find(each) for each in GROUPS):
        return PluginNotFound(
            f"no plugin is installed at all, so shoal itself is not: it was imported from a bare checkout. "
            f"Run `pip install -e .` there, or `pip install shoal`. Asked for: {group.noun} {name!r}."
        )
    close = difflib.get_close_matches(name, installed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    choice = f"Set {group.setting}= to one of these, or install" if group.setting else "Install"
    return PluginNotFound(
        f"no {group.noun} is named {name!r} (group {group.name!r}); {hint}"
        f"Installed: {', '.join(sorted(installed)) or 'none'}. {choice} the package that has {name!r}."
    )


def _cure(found: Found, error: BaseException) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and missing.partition(".")[0] != found.target.partition(".")[0]:
        return f"Install {missing.partition('.')[0]!r}, or the extra of {found.distribution} that has it."
    return f"Reinstall or uninstall {found.distribution}, or choose another."
