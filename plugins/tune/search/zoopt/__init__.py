"""ZOOpt as a searcher."""

from shoal.tune.search.zoopt.zoopt_search import ZOOptSearch

__all__ = ["ZOOptSearch"]
