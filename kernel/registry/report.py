"""What is installed, what works and what does not: the data behind `shoal plugins`."""

from __future__ import annotations

from typing import Any

import attrs

from shoal.config import Config
from shoal.errors import PluginError
from shoal.registry.discover import Found, find, refuse_doubles
from shoal.registry.drivers import load_found
from shoal.registry.groups import GROUPS, Group, Picks


@attrs.frozen(kw_only=True)
class Row:
    """One plugin as people see it."""

    group: str
    name: str
    distribution: str
    version: str
    target: str
    chosen: bool  # whether the configuration uses it
    state: str  # "ok" or "broken"
    error: str = ""  # why it is broken
    wanted: str = ""  # what it should have been: the interface


def report(config: Config) -> list[Row]:
    """Load every plugin of every group and say how that went. Never raises for a broken one."""
    return [
        _row(group, found, config, doubles) for group in GROUPS for found, doubles in _with_doubles(group)
    ]


def chosen(group: Group[Any], name: str, config: Config) -> bool:
    """Tell whether a session with this configuration uses the plugin."""
    if group.picks is Picks.ALL:
        return True
    value = getattr(config, group.setting)
    return name == value if group.picks is Picks.ONE else name in value


def _with_doubles(group: Group[Any]) -> list[tuple[Found, list[Found]]]:
    found = find(group)
    return [(one, [other for other in found if other.name == one.name]) for one in found]


def _row(group: Group[Any], found: Found, config: Config, same_name: list[Found]) -> Row:
    error = ""
    try:
        refuse_doubles(group, same_name)
        load_found(group, found)
    except PluginError as problem:
        error = str(problem)
    interface = group.interface
    return Row(
        group=group.name,
        name=found.name,
        distribution=found.distribution,
        version=found.version,
        target=found.target,
        chosen=chosen(group, found.name, config),
        state="broken" if error else "ok",
        error=error,
        wanted="" if interface is None else f"{interface.__module__}.{interface.__qualname__}",
    )
