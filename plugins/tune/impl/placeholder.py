"""Objects in a space, such as datasets and functions of the configuration, put aside while a searcher goes through it.

What is put aside is found again by the path where it was and a number there: one place of a grid or choice may hold
several objects, of which the searcher picks one.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from shoal.tune.search.sample import Categorical, Domain, Function

__all__ = ["create_resolvers_map", "inject_placeholders", "resolve_placeholders"]

_OBJECT, _FUNCTION = "__object__", "__function__"
_GRID = "grid_search"
Replaced = MutableMapping[tuple[Any, ...], list[tuple[str, Any]]]


def create_resolvers_map() -> Replaced:
    """Return an empty mapping for `inject_placeholders`."""
    return {}


def inject_placeholders(
    config: Any, resolvers: Replaced, id_prefix: tuple[Any, ...] = (), path_prefix: tuple[Any, ...] = ()
) -> Any:
    """Return a space in which objects are replaced by placeholders; the objects go to `resolvers`.

    Numbers, text, domains, and what mappings, lists, tuples, grids and choices hold of these stay. A grid or a choice
    is replaced in place.

    Parameters: `id_prefix` and `path_prefix` are where the space lies in a larger one, before and after the searcher.

    Example: `inject_placeholders({"data": dataset, "lr": tune.uniform(0, 1)}, kept := {})`
    """
    if isinstance(config, dict) and config.keys() == {_GRID}:
        config[_GRID] = [
            inject_placeholders(each, resolvers, (*id_prefix, index), path_prefix)
            for index, each in enumerate(config[_GRID])
        ]
        return config
    if isinstance(config, dict):
        return {
            name: inject_placeholders(each, resolvers, (*id_prefix, name), (*path_prefix, name))
            for name, each in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(
            [
                inject_placeholders(each, resolvers, (*id_prefix, index), (*path_prefix, index))
                for index, each in enumerate(config)
            ]
        )
    if isinstance(config, Categorical):
        config.categories = [
            inject_placeholders(each, resolvers, (*id_prefix, index), path_prefix)
            for index, each in enumerate(config.categories)
        ]
        return config
    if config is None or isinstance(config, (int, float, str, bool)):
        return config
    if isinstance(config, Domain) and not isinstance(config, Function):
        return config
    kind = _FUNCTION if isinstance(config, Function) else _OBJECT
    here = resolvers.setdefault(path_prefix, [])
    here.append((kind, config))
    return kind, len(here) - 1


def resolve_placeholders(config: Any, replaced: Replaced) -> None:
    """Put the objects back into a configuration, in place; functions are called with it when the others are there.

    Parameters: `replaced` is what `inject_placeholders` filled.

    Example: `resolve_placeholders(chosen, kept)`
    """
    for kind in (_OBJECT, _FUNCTION):
        for path, kept in replaced.items():
            _put(config, path, kind, kept, config)


def _put(at: Any, path: tuple[Any, ...], kind: str, kept: list[tuple[str, Any]], whole: Any) -> Any:
    """Return what is at `at` with the placeholder on its path replaced."""
    if isinstance(at, (tuple, list)) and len(at) == 2 and at[0] == kind and isinstance(at[1], int):
        value = kept[at[1]][1]
        return value.sample(config=whole) if kind == _FUNCTION else value
    if not path:
        return at
    name, rest = path[0], path[1:]
    if isinstance(at, tuple):
        if isinstance(name, int) and name < len(at):
            return (*at[:name], _put(at[name], rest, kind, kept, whole), *at[name + 1 :])
    elif (isinstance(at, dict) and name in at) or (
        isinstance(at, list) and isinstance(name, int) and name < len(at)
    ):
        at[name] = _put(at[name], rest, kind, kept, whole)
    return at
