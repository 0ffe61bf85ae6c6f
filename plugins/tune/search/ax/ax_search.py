"""Ax as a searcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.tune.search.ask_tell import AskTellSearcher
from shoal.tune.search.spaces import Parameter, flat_space, need

__all__ = ["AxSearch"]


class AxSearch(AskTellSearcher):
    """Asks Ax (ax-platform 1.0 or later, which brings PyTorch and BoTorch).

    Parameters: `space` is a space of ours. `parameter_constraints` are texts such as "x + y <= 1" and
    `outcome_constraints` such as "memory <= 10". `ax_client` is an ax.api.client.Client of your own, whose experiment
    is not configured yet; `ax_kwargs` are those of one that is made.
    Raises ConfigError.

    Example: `TuneConfig(search_alg=AxSearch(), metric="loss", mode="min", num_samples=30)`
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parameter_constraints: Sequence[str] | None = None,
        outcome_constraints: Sequence[str] | None = None,
        ax_client: Any = None,
        **ax_kwargs: Any,
    ) -> None:
        need("ax.api.client", "ax-platform", ">=1.0", "AxSearch")
        super().__init__(space, metric, mode, points_to_evaluate)
        self._constraints = list(parameter_constraints or ())
        self._outcomes = list(outcome_constraints or ())
        self._client = ax_client
        self._kwargs = ax_kwargs

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any]) -> list[Any]:
        """Return a space as Ax's parameters; choices are of positions. Raises ConfigError for what Ax cannot do.

        Example: `AxSearch.convert_search_space({"lr": tune.loguniform(1e-4, 1)})`
        """
        configs = need("ax.api.configs", "ax-platform", ">=1.0", "AxSearch")
        return _parameters_of(configs, flat_space(spec, "AxSearch"))

    def _begin(self) -> None:
        client = need("ax.api.client", "ax-platform", ">=1.0", "AxSearch")
        configs = need("ax.api.configs", "ax-platform", ">=1.0", "AxSearch")
        if self._client is None:
            self._client = client.Client(**self._kwargs)
        parameters = _parameters_of(configs, self._parameters)
        self._client.configure_experiment(parameters=parameters, parameter_constraints=self._constraints)
        self._client.configure_optimization(
            objective=f"-{self._metric}", outcome_constraints=self._outcomes or None
        )

    def _ask(self) -> tuple[Any, dict[str, Any]] | None:
        found = self._client.get_next_trials(max_trials=1)
        if not found:
            return None
        [(number, raw)] = found.items()
        return number, {
            each.name: each.choices[int(raw[each.name])]
            if each.kind == "choice"
            else each.rounded(raw[each.name])
            for each in self._parameters
        }

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        if token is None:
            token = self._client.attach_trial(
                parameters={
                    each.name: each.choices.index(values[each.name])
                    if each.kind == "choice"
                    else values[each.name]
                    for each in self._parameters
                }
            )
        self._client.complete_trial(trial_index=token, raw_data={self._metric: loss})

    def _drop(self, token: Any, values: dict[str, Any]) -> None:
        if token is not None:
            self._client.mark_trial_failed(trial_index=token)


def _parameters_of(configs: Any, parameters: list[Parameter]) -> list[Any]:
    made = []
    for each in parameters:
        if each.kind == "choice":
            positions = list(range(len(each.choices)))
            made.append(
                configs.ChoiceParameterConfig(
                    name=each.name, parameter_type="int", values=positions, is_ordered=False
                )
            )
        else:
            made.append(
                configs.RangeParameterConfig(
                    name=each.name,
                    parameter_type=each.kind,
                    bounds=(each.lower, each.upper),
                    scaling="log" if each.log else "linear",
                )
            )
    return made
