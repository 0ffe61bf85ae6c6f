"""HEBO as a searcher."""

from shoal.tune.search.hebo.hebo_search import HEBOSearch

__all__ = ["HEBOSearch"]
