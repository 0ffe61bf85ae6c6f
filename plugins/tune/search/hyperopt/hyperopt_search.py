"""HyperOpt's TPE as a searcher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.tune.search.ask_tell import AskTellSearcher
from shoal.tune.search.spaces import Parameter, flat_space, need

__all__ = ["HyperOptSearch"]


class HyperOptSearch(AskTellSearcher):
    """Asks HyperOpt's tree of Parzen estimators. Needs hyperopt (0.2.7 or later).

    Parameters: `space` is a space of ours. `points_to_evaluate` come first, then `n_initial_points` random ones;
    `random_state_seed` makes them again. `gamma` is the part of the trials that counts as good.
    Raises ConfigError.

    Example: `TuneConfig(search_alg=HyperOptSearch(), metric="loss", mode="min", num_samples=50)`
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        n_initial_points: int = 20,
        random_state_seed: int | None = None,
        gamma: float = 0.25,
    ) -> None:
        need("hyperopt", "hyperopt", ">=0.2.7", "HyperOptSearch")
        super().__init__(space, metric, mode, points_to_evaluate)
        self._first = n_initial_points
        self._seed = random_state_seed
        self._gamma = gamma
        self._domain: Any = None
        self._trials: Any = None
        self._rng: Any = None

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """Return a space as HyperOpt's; choices are of positions. Raises ConfigError for what HyperOpt cannot do.

        Parameters: `prefix` stands before each label, with a "/".

        Example: `HyperOptSearch.convert_search_space({"lr": tune.loguniform(1e-4, 1)})`
        """
        hyperopt = need("hyperopt", "hyperopt", ">=0.2.7", "HyperOptSearch")
        return _space_of(hyperopt.hp, flat_space(spec, "HyperOptSearch"), f"{prefix}/" if prefix else "")

    def _begin(self) -> None:
        import numpy

        hyperopt = need("hyperopt", "hyperopt", ">=0.2.7", "HyperOptSearch")
        space = _space_of(hyperopt.hp, self._parameters)
        self._domain = hyperopt.Domain(lambda config: config, space)
        self._trials = hyperopt.Trials()
        self._rng = numpy.random.default_rng(self._seed)

    def _ask(self) -> tuple[Any, dict[str, Any]]:
        hyperopt = need("hyperopt", "hyperopt", ">=0.2.7", "HyperOptSearch")
        [number] = self._trials.new_trial_ids(1)
        self._trials.refresh()
        [made] = hyperopt.tpe.suggest(
            [number],
            self._domain,
            self._trials,
            int(self._rng.integers(2**31 - 1)),
            n_startup_jobs=self._first,
            gamma=self._gamma,
            verbose=False,
        )
        self._trials.insert_trial_doc(made)
        self._trials.refresh()
        raw = {name: values[0] for name, values in made["misc"]["vals"].items() if values}
        values = {
            each.name: each.choices[int(raw[each.name])]
            if each.kind == "choice"
            else each.rounded(float(raw[each.name]))
            for each in self._parameters
        }
        return number, values

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        hyperopt = need("hyperopt", "hyperopt", ">=0.2.7", "HyperOptSearch")
        result = {"loss": loss, "status": hyperopt.STATUS_OK}
        if token is None:
            [token] = self._trials.new_trial_ids(1)
            raw = {
                each.name: each.choices.index(values[each.name])
                if each.kind == "choice"
                else values[each.name]
                for each in self._parameters
            }
            misc = {
                "tid": token,
                "cmd": ("domain_attachment", "FMinIter_Domain"),
                "idxs": {name: [token] for name in raw},
                "vals": {name: [value] for name, value in raw.items()},
            }
            [made] = self._trials.new_trial_docs([token], [None], [result], [misc])
            made["state"] = hyperopt.JOB_STATE_DONE
            self._trials.insert_trial_doc(made)
        else:
            for each in self._trials._dynamic_trials:
                if each["tid"] == token:
                    each["state"] = hyperopt.JOB_STATE_DONE
                    each["result"] = result
        self._trials.refresh()

    def _drop(self, token: Any, values: dict[str, Any]) -> None:
        hyperopt = need("hyperopt", "hyperopt", ">=0.2.7", "HyperOptSearch")
        for each in self._trials._dynamic_trials:
            if each["tid"] == token:
                each["state"] = hyperopt.JOB_STATE_ERROR
        self._trials.refresh()


def _space_of(hp: Any, parameters: list[Parameter], before: str = "") -> dict[str, Any]:
    space = {}
    for each in parameters:
        label = f"{before}{each.name}"
        if each.kind == "choice":
            space[each.name] = hp.choice(label, list(range(len(each.choices))))
        elif each.log:
            space[each.name] = hp.loguniform(label, math.log(each.lower), math.log(each.upper))
        else:
            space[each.name] = hp.uniform(label, each.lower, each.upper)
    return space
