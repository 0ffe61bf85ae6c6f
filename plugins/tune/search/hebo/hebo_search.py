"""HEBO as a searcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.search.ask_tell import AskTellSearcher
from shoal.tune.search.spaces import Parameter, flat_space, need

__all__ = ["HEBOSearch"]


class HEBOSearch(AskTellSearcher):
    """Asks HEBO (0.2 or later, which brings PyTorch).

    Parameters: `space` is a space of ours. `points_to_evaluate` come first; with `evaluated_rewards` they are known
    already. `random_state_seed` makes the choices again. `max_concurrent` is how many trials may be under way. `kwargs`
    are HEBO's own.
    Raises ConfigError.

    Example: `TuneConfig(search_alg=HEBOSearch(), metric="loss", mode="min", num_samples=30)`
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        random_state_seed: int | None = None,
        max_concurrent: int = 8,
        **kwargs: Any,
    ) -> None:
        need("hebo.optimizers.hebo", "HEBO", ">=0.2", "HEBOSearch")
        if evaluated_rewards is not None and len(evaluated_rewards) != len(points_to_evaluate or ()):
            raise ConfigError("evaluated_rewards must have a value for each of points_to_evaluate")
        super().__init__(
            space, metric, mode, None if evaluated_rewards else points_to_evaluate, max_concurrent
        )
        self._known = list(zip(points_to_evaluate or (), evaluated_rewards or (), strict=False))
        self._seed = random_state_seed
        self._kwargs = kwargs
        self._optimizer: Any = None

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any], prefix: str = "") -> Any:
        """Return a space as HEBO's; choices are of positions. Raises ConfigError for what HEBO cannot do.

        Parameters: `prefix` stands before each name, with a "/".

        Example: `HEBOSearch.convert_search_space({"lr": tune.loguniform(1e-4, 1)})`
        """
        spaces = need("hebo.design_space.design_space", "HEBO", ">=0.2", "HEBOSearch")
        rows = _rows_of(flat_space(spec, "HEBOSearch"), f"{prefix}/" if prefix else "")
        return spaces.DesignSpace().parse(rows)

    def _begin(self) -> None:
        library = need("hebo.optimizers.hebo", "HEBO", ">=0.2", "HEBOSearch")
        spaces = need("hebo.design_space.design_space", "HEBO", ">=0.2", "HEBOSearch")
        rows = _rows_of(self._parameters)
        self._optimizer = library.HEBO(
            space=spaces.DesignSpace().parse(rows), scramble_seed=self._seed, **self._kwargs
        )
        self._begun = True
        known, self._known = self._known, []
        for point, reward in known:
            self.add_evaluated_point(dict(point), reward)

    def _ask(self) -> tuple[Any, dict[str, Any]]:
        frame = self._optimizer.suggest(n_suggestions=1)
        row = frame.iloc[0]
        return frame, {
            each.name: each.choices[int(row[each.name])]
            if each.kind == "choice"
            else each.rounded(float(row[each.name]))
            for each in self._parameters
        }

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        import numpy
        import pandas

        if token is None:
            token = pandas.DataFrame(
                [
                    {
                        each.name: each.choices.index(values[each.name])
                        if each.kind == "choice"
                        else values[each.name]
                        for each in self._parameters
                    }
                ]
            )
        self._optimizer.observe(token, numpy.array([[loss]]))


def _rows_of(parameters: list[Parameter], before: str = "") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for each in parameters:
        name = f"{before}{each.name}"
        if each.kind == "choice":
            rows.append({"name": name, "type": "cat", "categories": list(range(len(each.choices)))})
        else:
            kind = {"float": "pow" if each.log else "num", "int": "pow_int" if each.log else "int"}[each.kind]
            row = {"name": name, "type": kind, "lb": each.lower, "ub": each.upper}
            rows.append({**row, "base": 10} if each.log else row)
    return rows
