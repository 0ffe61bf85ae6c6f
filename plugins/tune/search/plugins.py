"""Searchers by name: those that are installed."""

from __future__ import annotations

from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.search_algorithm import SearchAlgorithm

__all__ = ["create_searcher", "source_of"]


def create_searcher(search_alg: str, **kwargs: Any) -> Any:
    """Return a searcher by its name. Raises PluginNotFound naming those that there are.

    Parameters: `kwargs` are the searcher's own.

    Example: `tune.create_searcher("random", random_state=7)`
    """
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import TUNE_SEARCHERS

    return load_driver(TUNE_SEARCHERS, search_alg)(**kwargs)


def source_of(given: Any) -> SearchAlgorithm:
    """Return what gives configurations, of what `TuneConfig.search_alg` may be. Raises ConfigError.

    Example: `source_of(None)  # grids and chance`
    """
    from shoal.tune.search.basic_variant import BasicVariantGenerator
    from shoal.tune.search.search_generator import SearchGenerator
    from shoal.tune.search.searcher import Searcher

    if given is None:
        return BasicVariantGenerator()
    if isinstance(given, str):
        given = create_searcher(given)
    if isinstance(given, SearchAlgorithm):
        return given
    if isinstance(given, Searcher):
        return SearchGenerator(given)
    raise ConfigError(f"search_alg must be a Searcher or a searcher's name, not {describe(given)}")
