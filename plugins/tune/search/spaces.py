"""Our spaces as other libraries see them: flat lists of parameters, and back."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError
from shoal.tune.search.sample import (
    Categorical,
    Domain,
    Float,
    Function,
    Integer,
    LogUniform,
    Normal,
    Quantized,
)
from shoal.tune.search.variant_generator import assign_value, get_value, parse_spec_vars

__all__ = ["Parameter", "flat_space", "need", "nested", "point_of"]


@attrs.frozen
class Parameter:
    """One parameter of a flat space. `q` is the step of rounding, None without; `upper` belongs to the range."""

    name: str  # "a/b" for b in a
    path: tuple[Any, ...]
    kind: str  # "float", "int" or "choice"
    lower: float = 0.0
    upper: float = 0.0
    log: bool = False
    q: float | None = None
    choices: tuple[Any, ...] = ()

    def to_unit(self, value: Any) -> float:
        """Return a value as a number between 0 and 1."""
        if self.kind == "choice":
            return self.choices.index(value) / max(len(self.choices) - 1, 1)
        low, high = (math.log(self.lower), math.log(self.upper)) if self.log else (self.lower, self.upper)
        at = math.log(value) if self.log else value
        return min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.0

    def from_unit(self, unit: float) -> Any:
        """Return the value of a number between 0 and 1."""
        if self.kind == "choice":
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        low, high = (math.log(self.lower), math.log(self.upper)) if self.log else (self.lower, self.upper)
        value = low + (high - low) * unit
        return self.rounded(math.exp(value) if self.log else value)

    def rounded(self, value: float) -> Any:
        """Return a number as a value of the parameter."""
        value = min(max(value, self.lower), self.upper)
        if self.q:
            value = round(value / self.q) * self.q
            if value > self.upper + 1e-12:
                value -= self.q
            elif value < self.lower - 1e-12:
                value += self.q
        return round(value) if self.kind == "int" else float(value)


def flat_space(space: Mapping[str, Any], whose: str) -> list[Parameter]:
    """Return the parameters that are drawn in a space. Raises ConfigError for what the searcher of that name cannot do.

    Example: `flat_space({"lr": tune.loguniform(1e-4, 1)}, "BOHB")`
    """
    _, drawn, grids = parse_spec_vars(space)
    if grids:
        raise ConfigError(f"{whose} goes through no grids: use tune.choice")
    return [_parameter(path, domain, whose) for path, domain in drawn]


def _parameter(path: tuple[Any, ...], domain: Domain, whose: str) -> Parameter:
    name = "/".join(map(str, path))
    if isinstance(domain, Categorical):
        if any(any(parse_spec_vars(each)[1:]) for each in domain.categories):
            raise ConfigError(
                f"{whose} takes no space within a choice, as {name} has: OptunaSearch with a function does"
            )
        return Parameter(name, path, "choice", choices=tuple(domain.categories))
    if isinstance(domain, Function):
        raise ConfigError(
            f"{whose} cannot learn about {name}, which a function makes: compute it in the trainable"
        )
    sampler: Any = domain.get_sampler()
    q = None
    if isinstance(sampler, Quantized):
        q, sampler = float(sampler.q), sampler.get_sampler()
    if isinstance(sampler, Normal):
        # Other libraries want bounds: nearly all of the bell is within four deviations.
        low, high = sampler.mean - 4 * sampler.sd, sampler.mean + 4 * sampler.sd
        return Parameter(name, path, "float", low, high, False, q)
    log = isinstance(sampler, LogUniform)
    if isinstance(domain, Integer):
        upper = domain.upper if q is not None else domain.upper - 1
        return Parameter(name, path, "int", domain.lower, upper, log, q if q and q > 1 else None)
    if isinstance(domain, Float):
        return Parameter(name, path, "float", domain.lower, domain.upper, log, q)
    raise ConfigError(f"{whose} does not know the domain {domain!r} of {name}")


def nested(values: Mapping[str, Any], parameters: list[Parameter]) -> dict[str, Any]:
    """Return a configuration of flat values.

    Example: `nested({"a/b": 1}, parameters)  # {"a": {"b": 1}}`
    """
    found: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name not in values:
            continue
        at = found
        for name in parameter.path[:-1]:
            at = at.setdefault(name, {})
        assign_value(at, (parameter.path[-1],), values[parameter.name])
    return found


def point_of(config: Mapping[str, Any], parameters: list[Parameter]) -> dict[str, Any]:
    """Return the flat values of a configuration, those that it has."""
    found = {}
    for parameter in parameters:
        try:
            found[parameter.name] = get_value(config, parameter.path)
        except (KeyError, IndexError, TypeError):
            continue
    return found


def need(module: str, package: str, versions: str, whose: str) -> Any:
    """Import a library. Raises ConfigError naming the package and the versions that the searcher works with.

    Example: `need("optuna", "optuna", ">=3.6", "OptunaSearch")`
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library warns of itself is not our users' affair
            return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{whose} needs the package {package} ({versions}), which cannot be imported here: {error}. "
            f"pip install '{package}{versions}'"
        ) from error
