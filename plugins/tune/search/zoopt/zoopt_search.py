"""ZOOpt's asynchronous sequential RACOS as a searcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.search.ask_tell import AskTellSearcher
from shoal.tune.search.spaces import Parameter, flat_space, need
from shoal.tune.search.variant_generator import parse_spec_vars

__all__ = ["ZOOptSearch"]


class ZOOptSearch(AskTellSearcher):
    """Asks ZOOpt (0.4 or later).

    Parameters: `algo` is "asracos", its only one that is asked and told. `budget` is how many trials there will be.
    `dim_dict` is a space of ours. `points_to_evaluate` come first. `parallel_num` is how many trials run at once.
    `kwargs` are ZOOpt's own.
    Raises ConfigError.

    Example: `TuneConfig(search_alg=ZOOptSearch(budget=50), metric="loss", mode="min", num_samples=50)`
    """

    def __init__(
        self,
        algo: str = "asracos",
        budget: int | None = None,
        dim_dict: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parallel_num: int = 1,
        **kwargs: Any,
    ) -> None:
        need("zoopt", "zoopt", ">=0.4", "ZOOptSearch")
        if algo.lower() not in ("asracos", "sracos"):
            raise ConfigError(f"algo must be 'asracos' or 'sracos', not {algo!r}")
        if budget is None:
            raise ConfigError("ZOOptSearch needs budget: how many trials there will be")
        super().__init__(dim_dict, metric, mode, points_to_evaluate, parallel_num)
        self._budget = budget
        self._parallel = parallel_num
        self._kwargs = kwargs
        self._optimizer: Any = None

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any], join: bool = False) -> dict[str, Any]:
        """Return a space as ZOOpt's dimensions by name: choices are of positions, numbers shares of their ranges.

        Parameters: with `join` what is fixed in the space is there as well.
        Raises ConfigError for what ZOOpt cannot do.

        Example: `ZOOptSearch.convert_search_space({"lr": tune.loguniform(1e-4, 1)})`
        """
        kinds = need("zoopt", "zoopt", ">=0.4", "ZOOptSearch").ValueType
        fixed = {"/".join(map(str, path)): value for path, value in parse_spec_vars(spec)[0]} if join else {}
        return {**fixed, **_dimensions_of(kinds, flat_space(spec, "ZOOptSearch"))}

    def _begin(self) -> None:
        library = need("zoopt", "zoopt", ">=0.4", "ZOOptSearch")
        algorithms = need("zoopt.algos.opt_algorithms.racos.sracos", "zoopt", ">=0.4", "ZOOptSearch")
        kinds = library.ValueType
        dimensions = list(_dimensions_of(kinds, self._parameters).values())
        parameter = library.Parameter(
            budget=self._budget, parallel=True, server_num=self._parallel, **self._kwargs
        )
        dimension = library.Dimension2(dimensions)
        self._optimizer = algorithms.SRacosTune(
            dimension=dimension, parameter=parameter, parallel_num=self._parallel
        )

    def _ask(self) -> tuple[Any, dict[str, Any]] | None:
        solution = self._optimizer.suggest()
        if solution is None or solution == "FINISHED":
            return None
        values = {}
        for each, at in zip(self._parameters, solution.get_x(), strict=True):
            if each.kind == "choice":
                values[each.name] = each.choices[int(at)]
            else:
                values[each.name] = int(at) if each.kind == "int" else each.from_unit(float(at))
        return solution, values

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        if token is not None:
            self._optimizer.complete(token, loss)


def _dimensions_of(kinds: Any, parameters: list[Parameter]) -> dict[str, tuple[Any, ...]]:
    made: dict[str, tuple[Any, ...]] = {}
    for each in parameters:
        if each.kind == "choice":
            made[each.name] = kinds.GRID, list(range(len(each.choices)))
        elif each.kind == "int":
            made[each.name] = kinds.DISCRETE, [int(each.lower), int(each.upper)], True
        else:
            made[each.name] = kinds.CONTINUOUS, [0.0, 1.0], 1e-10
    return made
