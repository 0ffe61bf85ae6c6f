"""Bayesian optimisation with Gaussian processes, of the package bayesian-optimization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.search.ask_tell import AskTellSearcher
from shoal.tune.search.spaces import Parameter, flat_space, need
from shoal.tune.search.variant_generator import parse_spec_vars

__all__ = ["BayesOptSearch"]


class BayesOptSearch(AskTellSearcher):
    """Asks bayesian-optimization (1.4 or later). All parameters must be numbers of uniform or log-uniform ranges.

    Parameters: `space` is a space of ours, or {"x": (least, most)}. `utility_kwargs` are its upper confidence bound's
    ("kappa"). `random_search_steps` random points come first, `random_state` makes them again; `verbose` is the
    library's. A point that was suggested already counts as the same for `repeat_float_precision` digits; with
    `skip_duplicate` it is not tried again, and after `patience` of them in a row the search is finished. `analysis` has
    past results to learn from.
    Raises ConfigError.

    Example: `TuneConfig(search_alg=BayesOptSearch(random_state=7), metric="loss", mode="min", num_samples=30)`
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        utility_kwargs: Mapping[str, Any] | None = None,
        random_state: int = 42,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: Any = None,
        repeat_float_precision: int = 5,
    ) -> None:
        need("bayes_opt", "bayesian-optimization", ">=1.4", "BayesOptSearch")
        if space is not None:
            from shoal.tune.search.sample import Float

            space = {
                name: Float(*value).uniform()
                if isinstance(value, (tuple, list)) and len(value) == 2
                else value
                for name, value in space.items()
            }
        if patience < 1:
            raise ConfigError(f"patience must be at least 1, not {patience}")
        super().__init__(space, metric, mode, points_to_evaluate)
        unknown = set(utility_kwargs or {}) - {"kind", "kappa", "xi"}
        if unknown:
            raise ConfigError(f"utility_kwargs has no {', '.join(sorted(unknown))}; it has kind, kappa, xi")
        self._utility = dict(utility_kwargs or {})
        self._seed = random_state
        self._random_steps = random_search_steps
        self._verbose = verbose
        self._patience = patience
        self._skip = skip_duplicate
        self._digits = repeat_float_precision
        self._analysis = analysis
        self._optimizer: Any = None
        self._rng: Any = None
        self._asked = 0
        self._seen: set[tuple[float, ...]] = set()

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any], join: bool = False) -> dict[str, Any]:
        """Return a space's bounds by name. Raises ConfigError for choices and functions.

        Parameters: with `join` what is fixed in the space is there as well.

        Example: `BayesOptSearch.convert_search_space({"x": tune.uniform(0, 1)})  # {"x": (0, 1)}`
        """
        parameters = flat_space(spec, "BayesOptSearch")
        _refuse_choices(parameters)
        fixed = {"/".join(map(str, path)): value for path, value in parse_spec_vars(spec)[0]} if join else {}
        return {**fixed, **{each.name: (each.lower, each.upper) for each in parameters}}

    def register_analysis(self, analysis: Any) -> None:
        """Learn from another experiment's trials. Raises ConfigError without a metric."""
        if not self._metric:
            raise ConfigError("BayesOptSearch needs metric to learn from an experiment's trials")
        self.add_evaluated_trials(analysis, self._metric)

    def _begin(self) -> None:
        import numpy

        library = need("bayes_opt", "bayesian-optimization", ">=1.4", "BayesOptSearch")
        _refuse_choices(self._parameters)
        kind = self._utility.get("kind", "ucb")
        if kind not in ("ucb", "ei", "poi"):
            raise ConfigError(f"utility_kwargs['kind'] must be one of ucb, ei, poi, not {kind!r}")
        kappa, xi = self._utility.get("kappa", 2.576), self._utility.get("xi", 0.0)
        options: dict[str, Any] = {}
        if hasattr(library, "UtilityFunction"):  # before 2.0
            self._function = library.UtilityFunction(kind=kind, kappa=kappa, xi=xi)
        else:
            found = need("bayes_opt.acquisition", "bayesian-optimization", ">=1.4", "BayesOptSearch")
            options["acquisition_function"] = {
                "ucb": lambda: found.UpperConfidenceBound(kappa=kappa),
                "ei": lambda: found.ExpectedImprovement(xi=xi),
                "poi": lambda: found.ProbabilityOfImprovement(xi=xi),
            }[kind]()
        self._optimizer = library.BayesianOptimization(
            f=None,
            pbounds={
                each.name: (0.0, 1.0) for each in self._parameters
            },  # as a share of the range, or of its logarithm
            random_state=self._seed,
            verbose=self._verbose,
            allow_duplicate_points=True,
            **options,
        )
        self._rng = numpy.random.default_rng(self._seed)
        if self._analysis is not None:
            analysis, self._analysis = self._analysis, None
            self._begun = True
            self.add_evaluated_trials(analysis, self._metric)

    def _ask(self) -> tuple[Any, dict[str, Any]] | None:
        for _ in range(self._patience):
            if self._asked < self._random_steps or not len(self._optimizer.space):
                unit = {each.name: float(self._rng.random()) for each in self._parameters}
            else:
                unit = {name: float(value) for name, value in self._suggestion().items()}
            self._asked += 1
            key = tuple(round(unit[each.name], self._digits) for each in self._parameters)
            if not self._skip or key not in self._seen:
                self._seen.add(key)
                return unit, {each.name: each.from_unit(unit[each.name]) for each in self._parameters}
        self._dry = True
        return None

    def _suggestion(self) -> dict[str, Any]:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the process did not converge is no affair of our users
            asked = self._optimizer.suggest(self._function) if self._function else self._optimizer.suggest()
        found: dict[str, Any] = asked
        return found

    _dry = False
    _function: Any = None

    def suggest(self, trial_id: str) -> Any:
        """Return the next point, FINISHED when only known ones come."""
        found = super().suggest(trial_id)
        return self.FINISHED if found is None and self._dry else found

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        unit = token or {each.name: each.to_unit(values[each.name]) for each in self._parameters}
        self._optimizer.register(params=unit, target=-loss)


def _refuse_choices(parameters: list[Parameter]) -> None:
    bad = [each.name for each in parameters if each.kind == "choice"]
    if bad:
        raise ConfigError(f"BayesOptSearch searches numbers only; {', '.join(bad)} is a choice")
