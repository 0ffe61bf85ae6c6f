"""What is installed: entry points with the distribution that each comes from. stevedore is used here and nowhere else.

stevedore picks and loads the driver. The list of entry points it gets from us, because its own comes from a cache
that has lost the distributions' names (errors need them), drops one of two equal registrations (doubles must be
refused) and writes into the user's home. See docs/decisions/0002-plugin-loading.md.
"""

from __future__ import annotations

import functools
import itertools
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import attrs

from shoal.errors import PluginBroken
from shoal.registry.groups import Group


@attrs.frozen
class Found:
    """One registration of a plugin, not yet imported."""

    group: str
    name: str
    target: str  # "package.module:Class"
    distribution: str
    version: str
    entry_point: EntryPoint = attrs.field(eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.target} of {self.distribution} {self.version}"


def find(group: Group[Any]) -> list[Found]:
    """Return the registrations of a group, sorted by name; nothing is imported. Doubles are all in the list."""
    return list(_found(group.name, tuple(sys.path)))


def refuse_doubles(group: Group[Any], found: list[Found]) -> None:
    """Raise PluginBroken if two distributions registered one name: whichever won, someone would get the wrong one."""
    for first, second in itertools.pairwise(found):
        if first.name == second.name:
            raise PluginBroken(
                f"two plugins are registered as {group.noun} {first.name!r} (group {group.name!r}): {first}, and "
                f"{second}. Uninstall one of the two distributions."
            )


def load(found: Found) -> Any:
    """Import the target of a registration and return it. Raises whatever its module raises."""
    from stevedore.driver import DriverManager

    class OneEntryPoint(DriverManager):  # type: ignore[type-arg,misc,unused-ignore]
        def list_entry_points(self) -> list[EntryPoint]:
            return [found.entry_point]

    return OneEntryPoint(found.group, found.name).driver


def forget() -> None:
    """Look again at the next `find`: something was installed while this process runs."""
    _scan.cache_clear()
    _found.cache_clear()


@functools.lru_cache(maxsize=1)
def _scan(path: tuple[str, ...]) -> Any:  # its type has another name in each version of Python
    # One scan serves all groups: a session asks for half a dozen, and each scan reads every distribution's folder.
    return entry_points()


@functools.lru_cache(maxsize=32)
def _found(group: str, path: tuple[str, ...]) -> tuple[Found, ...]:
    found = []
    for entry_point in _scan(path).select(group=group):
        name, version = _origin(entry_point)
        found.append(Found(group, entry_point.name, entry_point.value, name, version, entry_point))
    return tuple(sorted(found, key=lambda one: (one.name, one.distribution)))


def _origin(entry_point: EntryPoint) -> tuple[str, str]:
    distribution = entry_point.dist
    if distribution is None:
        return "unknown", "unknown"
    metadata = distribution.metadata  # parsed anew at each access
    return metadata["Name"] or "unknown", metadata["Version"] or "unknown"
