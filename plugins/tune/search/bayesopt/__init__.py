"""Bayesian optimisation with the package bayesian-optimization."""

from shoal.tune.search.bayesopt.bayesopt_search import BayesOptSearch

__all__ = ["BayesOptSearch"]
