"""The finder that makes modules called `ray` and `ray.…` out of ours, each name when it is first used."""

from __future__ import annotations

import difflib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import types
from collections.abc import Callable, Sequence
from typing import Any

from shoal.compat.sources import Source
from shoal.compat.table import BY_RULE, MODULES, ROOT, SAME_AS

Restore = Callable[[str], types.ModuleType]


class AliasFinder(importlib.abc.MetaPathFinder):
    """Answers for `ray` and everything below it, and for nothing else.

    `restore(name)` is what a pickled module becomes where it is loaded.
    """

    def __init__(self, restore: Restore) -> None:
        self._restore = restore

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of an alias module. Raises ModuleNotFoundError for one that is not there yet."""
        if fullname != ROOT and not fullname.startswith(ROOT + "."):
            return None
        sources = sources_of(fullname)
        if sources is None:
            # No `name`: with one, `from ray.x import y` would drop this text for a shorter one.
            raise ModuleNotFoundError(not_there(fullname))
        return importlib.machinery.ModuleSpec(fullname, AliasLoader(sources, self._restore), is_package=True)


class AliasLoader(importlib.abc.Loader):
    """Fills an alias module with a way to look names up."""

    def __init__(self, sources: tuple[Source, ...], restore: Restore) -> None:
        self.sources = sources
        self.restore = restore

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> AliasModule:
        """Return the module, still without names."""
        return AliasModule(spec.name, self.sources, self.restore)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs: names come when they are used."""


class AliasModule(types.ModuleType):
    """A module of the reference whose names are ours."""

    def __init__(self, name: str, sources: tuple[Source, ...], restore: Restore) -> None:
        super().__init__(name, f"Shoal under the name {name}.")
        self.__dict__["_shoal_sources"] = sources
        self.__dict__["_shoal_restore"] = restore

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return [known for known in self._names() if not known.startswith("_")]
        if name.startswith("__") and name.endswith("__") and not self._holds(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        for source in self._sources():
            home = source.names.get(name) if source.names is not None else name
            if home is None:
                continue
            module = importlib.import_module(source.module)
            if hasattr(module, home):
                value = getattr(module, home)
                self.__dict__[name] = value
                return value
        if sources_of(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        raise AttributeError(not_there(f"{self.__name__}.{name}"))

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds a submodule in its parent. Where a function has the same name, as placement_group in
        # ray.util, the function is what the attribute means; the import statement finds the module all the same.
        if isinstance(value, AliasModule) and self._has_function(name):
            return
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__dict__["_shoal_restore"], (self.__name__,)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._names()})

    def _sources(self) -> tuple[Source, ...]:
        sources: tuple[Source, ...] = self.__dict__["_shoal_sources"]
        return sources

    def _holds(self, name: str) -> bool:
        return any(name in source.names for source in self._sources() if source.names is not None)

    def _has_function(self, name: str) -> bool:
        for source in self._sources():
            if name in names_of((source,)):
                home = name if source.names is None else source.names[name]
                return not isinstance(getattr(importlib.import_module(source.module), home), types.ModuleType)
        return False

    def _names(self) -> list[str]:
        return names_of(self._sources())


def sources_of(fullname: str) -> tuple[Source, ...] | None:
    """Return where the names of an alias module come from; None if there is no such module."""
    same = SAME_AS.get(fullname)
    if same is not None:
        return sources_of(same)
    if fullname in MODULES:
        return MODULES[fullname]
    if fullname.split(".")[1] in BY_RULE:
        ours = "shoal" + fullname.removeprefix(ROOT)
        try:
            found = importlib.util.find_spec(ours)
        except ModuleNotFoundError:
            return None
        return None if found is None else (Source(ours, None),)
    return None


def names_of(sources: tuple[Source, ...]) -> list[str]:
    """Return the public names that sources have."""
    names: set[str] = set()
    for source in sources:
        if source.names is not None:
            names |= set(source.names)
            continue
        module = importlib.import_module(source.module)
        listed = getattr(module, "__all__", None)
        names |= set(
            listed if listed is not None else (name for name in vars(module) if not name.startswith("_"))
        )
    return sorted(names)


def not_there(fullname: str) -> str:
    """Say that a name is not there yet, and what is nearest."""
    parent, _, name = fullname.rpartition(".")
    sources = sources_of(parent) if parent else None
    if sources is None:
        known = sorted({*MODULES, *SAME_AS})
        near = difflib.get_close_matches(fullname, known, 1, 0.4)
    else:
        known = [
            *names_of(sources),
            *(full[len(parent) + 1 :] for full in MODULES if full.startswith(parent + ".")),
        ]
        near = [f"{parent}.{close}" for close in difflib.get_close_matches(name, known, 1, 0.4)]
    nearest = f"; the nearest that is: {near[0]}" if near else ""
    return f"{fullname} is not in Shoal yet{nearest}. docs/moving_from_ray.md lists what is the same, different, absent"
