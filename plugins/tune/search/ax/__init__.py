"""Ax as a searcher."""

from shoal.tune.search.ax.ax_search import AxSearch

__all__ = ["AxSearch"]
