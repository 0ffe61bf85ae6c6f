"""From a space to configurations: grids are gone through, the rest is drawn, functions come last."""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.search.sample import Categorical, Domain, Function, rng_of

__all__ = [
    "RecursiveDependencyError",
    "View",
    "assign_value",
    "count_variants",
    "format_vars",
    "generate_variants",
    "get_value",
    "grid_search_values",
    "parse_spec_vars",
    "resolve",
]

Path = tuple[Any, ...]

_DEPTH = 32  # of spaces within choices, and of functions that need each other


def grid_search_values(value: Any) -> list[Any] | None:
    """Return the values of a grid search, None if it is none. Raises ConfigError for a misspelled one."""
    if isinstance(value, Categorical) and value.is_grid():
        return value.categories
    if isinstance(value, Mapping) and len(value) == 1:
        [name] = value
        if isinstance(name, str) and name != "grid_search" and _is_misspelled(name):
            raise ConfigError(
                f"{{{name!r}: …}} looks like a grid search: write 'grid_search', or tune.grid_search([…])"
            )
    if isinstance(value, Mapping) and "grid_search" in value:
        if len(value) > 1:
            others = ", ".join(repr(name) for name in value if name != "grid_search")
            raise ConfigError(f"a grid search stands alone; beside 'grid_search' there is {others}")
        values = value["grid_search"]
        if not isinstance(values, (list, tuple)) or not values:
            raise ConfigError(f"grid_search needs a list of at least one value, not {values!r}")
        return list(values)
    return None


def _is_misspelled(name: str) -> bool:
    return difflib.SequenceMatcher(None, name.lower().replace("_", ""), "gridsearch").ratio() > 0.8


def parse_spec_vars(
    spec: Any,
) -> tuple[list[tuple[Path, Any]], list[tuple[Path, Domain]], list[tuple[Path, Any]]]:
    """Return what is fixed in a space, what is drawn, and what is gone through, each with its path.

    Example: `parse_spec_vars({"a": tune.uniform(0, 1), "b": 3})`
    """
    fixed: list[tuple[Path, Any]] = []
    drawn: list[tuple[Path, Domain]] = []
    grids: list[tuple[Path, Any]] = []
    _walk(spec, (), fixed, drawn, grids)
    grids.sort(key=lambda each: tuple(map(str, each[0])))
    return fixed, drawn, grids


def _walk(
    spec: Any,
    path: Path,
    fixed: list[tuple[Path, Any]],
    drawn: list[tuple[Path, Domain]],
    grids: list[tuple[Path, Any]],
) -> None:
    values = grid_search_values(spec)
    if values is not None:
        grids.append((path, values))
    elif isinstance(spec, Domain):
        drawn.append((path, spec))
    elif isinstance(spec, Mapping):
        for name, value in spec.items():
            _walk(value, (*path, name), fixed, drawn, grids)
    elif type(spec) in (list, tuple):
        for index, value in enumerate(spec):
            _walk(value, (*path, index), fixed, drawn, grids)
    else:
        if callable(spec) and getattr(spec, "__module__", "") == "shoal.tune.search.sample":
            where = "/".join(map(str, path))
            raise ConfigError(
                f"{where} is the function tune.{spec.__name__} itself: call it, as in tune.{spec.__name__}(…)"
            )
        fixed.append((path, spec))


def assign_value(spec: Any, path: Path, value: Any) -> None:
    """Put a value at a path in a space.

    Example: `assign_value({"a": {"b": 1}}, ("a", "b"), 2)`
    """
    for name in path[:-1]:
        spec = spec[name]
    spec[path[-1]] = value


def get_value(spec: Any, path: Path) -> Any:
    """Return the value at a path. Raises KeyError or IndexError if there is none."""
    for name in path:
        spec = spec[name]
    return spec


def format_vars(resolved_vars: Mapping[Path, Any]) -> str:
    """Return what was chosen as one line: the tag of a trial.

    Example: `format_vars({("lr",): 0.1})  # "lr=0.1000"`
    """
    parts = []
    for path, value in sorted(resolved_vars.items(), key=lambda each: tuple(map(str, each[0]))):
        names = [str(name) for name in path if name != "config" and not isinstance(name, int)] or [
            str(name) for name in path
        ]
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        clean = "".join(char if char.isalnum() or char in "._-" else "_" for char in text)
        parts.append(f"{names[-1]}={clean[:40]}")
    return ",".join(parts)


class View(dict[Any, Any]):
    """A configuration for `sample_from`: also `view.name` and `view.config.name`; what is not drawn yet raises."""

    def __getitem__(self, name: Any) -> Any:
        value = super().__getitem__(name)
        if isinstance(value, Domain):
            raise _NotYetError(name)
        return View(value) if type(value) is dict else value

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if name == "config":
            return self
        raise AttributeError(f"there is no parameter {name!r}; there are {', '.join(map(str, self))}")

    def get(self, name: Any, default: Any = None) -> Any:
        """Return a parameter, or the default."""
        return self[name] if name in self else default  # noqa: SIM401  get would call itself


class _NotYetError(Exception):
    """A function needs a parameter that is not drawn yet."""


def _copy(spec: Any) -> Any:
    if isinstance(spec, Mapping):
        return {name: _copy(value) for name, value in spec.items()}
    if type(spec) in (list, tuple):
        return [_copy(value) for value in spec]
    return spec


def _draw(
    config: Any, drawn: list[tuple[Path, Domain]], rng: random.Random, given: Mapping[Path, Any]
) -> dict[Path, Any]:
    """Put drawn values into a configuration; return them by path."""
    chosen: dict[Path, Any] = {}
    functions: list[tuple[Path, Function]] = []
    for path, domain in drawn:
        if path in given:
            chosen[path] = given[path]
        elif isinstance(domain, Function):
            functions.append((path, domain))
            continue
        else:
            chosen[path] = domain.draw(rng)
        assign_value(config, path, chosen[path])
    for _ in range(len(functions)):
        waiting = []
        for path, function in functions:
            try:
                chosen[path] = function.call(View(config))
            except _NotYetError:
                waiting.append((path, function))
                continue
            assign_value(config, path, chosen[path])
        if len(waiting) == len(functions):
            break
        functions = waiting
    if functions:
        names = ", ".join("/".join(map(str, path)) for path, _ in functions)
        raise RecursiveDependencyError(
            f"the functions of {names} need each other's values: there is no order to call them in"
        )
    return chosen


def resolve(
    spec: Mapping[str, Any], rng: random.Random, given: Mapping[Path, Any] | None = None
) -> tuple[dict[Path, Any], dict[str, Any]]:
    """Draw one configuration of a space; of each grid one value is drawn as well. Return what was chosen, and it.

    Parameters: `given` has values for some paths instead.

    Example: `resolve({"a": tune.uniform(0, 1)}, random.Random(7))`
    """
    config = _copy(spec)
    _, drawn, grids = parse_spec_vars(spec)
    chosen: dict[Path, Any] = {}
    for path, values in grids:
        chosen[path] = (given or {}).get(path, None) if path in (given or {}) else rng.choice(values)
        assign_value(config, path, chosen[path])
    chosen.update(_draw(config, drawn, rng, given or {}))
    return _deeper(chosen, config, rng, given or {})


def _deeper(
    chosen: dict[Path, Any], config: dict[str, Any], rng: random.Random, given: Mapping[Path, Any]
) -> tuple[dict[Path, Any], dict[str, Any]]:
    """Draw what chosen values have inside, to the end."""
    for _ in range(_DEPTH):
        inside = [path for path, value in chosen.items() if isinstance(value, (dict, list, tuple, Domain))]
        found: dict[Path, Any] = {}
        for path in inside:
            _, drawn, grids = parse_spec_vars(chosen[path])
            if not drawn and not grids:
                continue
            value = _copy(chosen[path])
            if isinstance(value, Domain):
                value = value.draw(rng) if not isinstance(value, Function) else value.call(View(config))
                chosen[path] = value
                assign_value(config, path, value)
                found[path] = value
                continue
            assign_value(config, path, value)
            more = [((*path, *inner), domain) for inner, domain in drawn]
            more += [((*path, *inner), Categorical(values).uniform()) for inner, values in grids]
            found.update(_draw(config, more, rng, given))
            chosen[path] = value
        if not found:
            return chosen, config
        chosen.update(found)
    raise RecursiveDependencyError(f"the space is nested more than {_DEPTH} choices deep")


class RecursiveDependencyError(ConfigError):
    """The values of a space need each other: there is no order to draw them in."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)


def count_variants(spec: Mapping[str, Any]) -> int:
    """Return how many combinations the space's grids have."""
    count = 1
    for _, values in parse_spec_vars(spec)[2]:
        count *= len(values)
    return count


def generate_variants(
    unresolved_spec: Mapping[str, Any],
    constant_grid_search: bool = False,
    random_state: Any = None,
) -> Iterator[tuple[dict[Path, Any], dict[str, Any]]]:
    """Give every combination of the grids, the rest drawn for each: what was chosen by path, and the configuration.

    Parameters: with `constant_grid_search` the rest is drawn once for all combinations. `random_state` is a seed or a
    generator.

    Example: `[config for _, config in generate_variants({"a": tune.grid_search([1, 2])})]`
    """
    rng = rng_of(random_state)
    _, drawn, grids = parse_spec_vars(unresolved_spec)
    fixed: dict[Path, Any] = {}
    if constant_grid_search:
        plain = [(path, domain) for path, domain in drawn if not isinstance(domain, Function)]
        fixed = {path: domain.draw(rng) for path, domain in plain}
    paths = [path for path, _ in grids]
    for values in product(*(values for _, values in grids)):
        config = _copy(unresolved_spec)
        chosen = dict(zip(paths, values, strict=True))
        for path, value in chosen.items():
            assign_value(config, path, value)
        chosen.update(_draw(config, drawn, rng, fixed))
        yield _deeper(chosen, config, rng, {})
