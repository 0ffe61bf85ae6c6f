"""What a trial gets: bundles of resources."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.train.config import STRATEGIES, ScalingConfig

__all__ = [
    "PlacementGroupFactory",
    "fits",
    "json_to_resources",
    "resource_dict_to_pg_factory",
    "resources_of",
]


_NAMES: Mapping[Any, str] = {"cpu": "CPU", "gpu": "GPU"}


class PlacementGroupFactory:
    """The bundles of resources that each trial gets: the first for the trial itself, the others for what it starts.

    Parameters: `bundles` are mappings such as {"CPU": 1, "GPU": 0.5}; `strategy` is PACK, SPREAD, STRICT_PACK or
    STRICT_SPREAD. With `reserves=False` the bundles are only counted: whatever the trial starts makes a placement group
    of its own, as trainers do.
    Raises ConfigError for what is none.

    Example: `PlacementGroupFactory([{"CPU": 1}, {"CPU": 2}, {"CPU": 2}])`
    """

    def __init__(
        self, bundles: Sequence[Mapping[str, float]], strategy: str = "PACK", *, reserves: bool = True
    ) -> None:
        if isinstance(bundles, Mapping) or not bundles:
            raise ConfigError(f"bundles must be a list of at least one mapping, not {describe(bundles)}")
        if strategy not in STRATEGIES:
            raise ConfigError(f"strategy must be one of {', '.join(STRATEGIES)}, not {describe(strategy)}")
        self._bundles = [_checked(bundle) for bundle in bundles]
        self._strategy = strategy
        self.reserves = reserves

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The bundles, those without anything left out."""
        return [dict(bundle) for bundle in self._bundles if bundle]

    @property
    def head(self) -> dict[str, float]:
        """The trial's own bundle."""
        return dict(self._bundles[0])

    @property
    def head_bundle_is_empty(self) -> bool:
        """Whether the trial itself needs nothing."""
        return not self._bundles[0]

    @property
    def head_cpus(self) -> float:
        """The CPUs of the trial itself."""
        return self._bundles[0].get("CPU", 0.0)

    @property
    def strategy(self) -> str:
        """How the bundles are placed."""
        return self._strategy

    @property
    def required_resources(self) -> dict[str, float]:
        """All bundles together."""
        total: dict[str, float] = {}
        for bundle in self._bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    def to_placement_group(self) -> Any:
        """Make a placement group of the bundles."""
        import shoal

        return shoal.placement_group(self.bundles, strategy=self._strategy)

    def __call__(self) -> Any:
        return self.to_placement_group()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroupFactory) and (
            self._bundles,
            self._strategy,
            self.reserves,
        ) == (other._bundles, other._strategy, other.reserves)

    def __hash__(self) -> int:
        return hash((tuple(tuple(sorted(bundle.items())) for bundle in self._bundles), self._strategy))

    def __repr__(self) -> str:
        return f"<PlacementGroupFactory {self._bundles}, {self._strategy}>"


def _checked(bundle: Any) -> dict[str, float]:
    if not isinstance(bundle, Mapping):
        raise ConfigError(f"a bundle must be a mapping of resources, not {describe(bundle)}")
    found: dict[str, float] = {}
    for name, amount in bundle.items():
        if (
            not isinstance(amount, (int, float))
            or isinstance(amount, bool)
            or not math.isfinite(amount)
            or amount < 0
        ):
            raise ConfigError(f"the resource {name!r} must be a number of at least 0, not {describe(amount)}")
        if amount:
            found[_NAMES.get(name, str(name))] = float(amount)
    return found


def resources_of(given: Any) -> PlacementGroupFactory:
    """Return what a trial gets, of a mapping, a ScalingConfig, a factory, or None for one CPU. Raises ConfigError.

    Example: `resources_of({"cpu": 2, "gpu": 1, "custom_resources": {"license": 1}})`
    """
    if given is None:
        return PlacementGroupFactory([{"CPU": 1.0}])
    if isinstance(given, PlacementGroupFactory):
        return given
    if isinstance(given, ScalingConfig):
        own = dict(given.trainer_resources or {})
        return PlacementGroupFactory(
            [own, *([given.bundle()] * given.max_workers)], given.placement_strategy, reserves=False
        )
    if isinstance(given, Mapping):
        flat = dict(given)
        flat.update(flat.pop("custom_resources", None) or {})
        return PlacementGroupFactory([flat])
    raise ConfigError(
        f"resources must be a mapping, a PlacementGroupFactory or a ScalingConfig, not {describe(given)}"
    )


def resource_dict_to_pg_factory(spec: Mapping[str, float] | None = None) -> PlacementGroupFactory:
    """Return what a trial gets, of a mapping.

    Example: `resource_dict_to_pg_factory({"cpu": 2})`
    """
    return resources_of(spec)


def fits(need: Mapping[str, float], nodes: Sequence[Mapping[str, Any]], key: str = "Resources") -> int:
    """Return how many trials of that need fit on nodes, by their "Resources" or what is "Available".

    Example: `fits({"CPU": 1.0}, shoal.nodes())`
    """
    found = 0
    for node in nodes:
        if not node["Alive"] or node.get("Draining"):
            continue
        has = node[key]
        found += min(
            (int((has.get(name, 0.0) + 1e-6) / amount) for name, amount in need.items()), default=1 << 20
        )
    return found


def json_to_resources(data: str | Mapping[str, Any] | None) -> PlacementGroupFactory | None:
    """Return what JSON says a trial gets: {"cpu": 2, "gpu": 1, "custom_resources": {"x": 1}}. Raises ConfigError.

    Example: `json_to_resources('{"cpu": 2}')`
    """
    if data is None or data == "null":
        return None
    try:
        found = json.loads(data) if isinstance(data, str) else dict(data)
    except ValueError as error:
        raise ConfigError(f"resources must be JSON, not {data!r}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"resources must be a mapping, not {describe(found)}")
    own = found.pop("custom_resources", {})
    return resources_of({**found, **own})
