"""Where configurations come from: search spaces, and searchers that look for good places in them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.tune.search.basic_variant import BasicVariantGenerator
    from shoal.tune.search.concurrency_limiter import ConcurrencyLimiter
    from shoal.tune.search.plugins import create_searcher
    from shoal.tune.search.repeater import Repeater
    from shoal.tune.search.sample import grid_search
    from shoal.tune.search.search_algorithm import SearchAlgorithm
    from shoal.tune.search.search_generator import SearchGenerator
    from shoal.tune.search.searcher import (
        UNDEFINED_METRIC_MODE,
        UNDEFINED_SEARCH_SPACE,
        UNRESOLVED_SEARCH_SPACE,
        Searcher,
    )

__all__ = [
    "UNDEFINED_METRIC_MODE",
    "UNDEFINED_SEARCH_SPACE",
    "UNRESOLVED_SEARCH_SPACE",
    "BasicVariantGenerator",
    "ConcurrencyLimiter",
    "Repeater",
    "SearchAlgorithm",
    "SearchGenerator",
    "Searcher",
    "create_searcher",
    "grid_search",
]

_HOMES = {
    "shoal.tune.search.basic_variant": ("BasicVariantGenerator",),
    "shoal.tune.search.concurrency_limiter": ("ConcurrencyLimiter",),
    "shoal.tune.search.plugins": ("create_searcher",),
    "shoal.tune.search.repeater": ("Repeater",),
    "shoal.tune.search.sample": ("grid_search",),
    "shoal.tune.search.search_algorithm": ("SearchAlgorithm",),
    "shoal.tune.search.search_generator": ("SearchGenerator",),
    "shoal.tune.search.searcher": (
        "UNDEFINED_METRIC_MODE",
        "UNDEFINED_SEARCH_SPACE",
        "UNRESOLVED_SEARCH_SPACE",
        "Searcher",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
