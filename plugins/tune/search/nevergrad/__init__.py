"""Nevergrad as a searcher."""

from shoal.tune.search.nevergrad.nevergrad_search import NevergradSearch

__all__ = ["NevergradSearch"]
