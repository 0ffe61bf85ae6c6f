"""HyperOpt as a searcher."""

from shoal.tune.search.hyperopt.hyperopt_search import HyperOptSearch

__all__ = ["HyperOptSearch"]
