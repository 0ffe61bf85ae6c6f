"""BOHB's searcher."""

from shoal.tune.search.bohb.bohb_search import TuneBOHB

__all__ = ["TuneBOHB"]
