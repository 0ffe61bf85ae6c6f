"""Optuna as a searcher: spaces, define-by-run functions, several objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.searcher import (
    UNDEFINED_METRIC_MODE,
    UNDEFINED_SEARCH_SPACE,
    Searcher,
)
from shoal.tune.search.spaces import Parameter, flat_space, need, nested, point_of

__all__ = ["OptunaSearch"]


class OptunaSearch(Searcher):
    """Asks an Optuna study for configurations. Needs optuna (3.6 or later).

    Parameters: `space` is a space of ours, a mapping of Optuna's distributions, or a function of an Optuna trial that
    calls its `suggest_…` (define-by-run) and may return a mapping of constants. `metric` and `mode` may be lists, for
    several objectives. `points_to_evaluate` are tried first; with `evaluated_rewards` they are known already. `sampler`
    is one of Optuna's (TPE by default), `seed` the default one's; `study_name` and `storage` are the study's.
    Raises ConfigError.

    Example: `TuneConfig(search_alg=OptunaSearch(), metric="loss", mode="min", num_samples=50)`
    """

    def __init__(
        self,
        space: Any = None,
        metric: Any = None,
        mode: Any = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        sampler: Any = None,
        study_name: str | None = None,
        storage: Any = None,
        seed: int | None = None,
        evaluated_rewards: Sequence[float] | None = None,
    ) -> None:
        super().__init__(metric, mode)
        optuna = need("optuna", "optuna", ">=3.6", "OptunaSearch")
        if space is not None and not isinstance(space, Mapping) and not callable(space):
            raise ConfigError(
                f"space must be a mapping or a function of Optuna's trial, not {describe(space)}"
            )
        if sampler is not None and not isinstance(sampler, optuna.samplers.BaseSampler):
            raise ConfigError(f"sampler must be one of optuna.samplers, not {describe(sampler)}")
        if evaluated_rewards is not None and len(evaluated_rewards) != len(points_to_evaluate or ()):
            raise ConfigError("evaluated_rewards must have a value for each of points_to_evaluate")
        self._space: Any = space
        self._points = [dict(point) for point in points_to_evaluate or ()]
        self._rewards = list(evaluated_rewards or ())
        self._sampler = sampler
        self._seed = seed
        self._study_name = study_name
        self._storage = storage
        self._study: Any = None
        self._parameters: list[Parameter] = []
        self._given: dict[str, Any] = {}

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        """Take what was not given before; return whether the space was taken."""
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        if self._seed is None and self._sampler is None:
            self._seed = spec.get("seed")
        if self._space is not None:
            return False
        self._space = dict(config)
        return True

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return a space as Optuna's distributions by name. Raises ConfigError for what Optuna cannot do.

        Example: `OptunaSearch.convert_search_space({"lr": tune.loguniform(1e-4, 1)})`
        """
        optuna = need("optuna", "optuna", ">=3.6", "OptunaSearch")
        return {each.name: _distribution(optuna, each) for each in flat_space(spec, "OptunaSearch")}

    def _ready(self) -> None:
        if self._study is not None:
            return
        if not self._metric or not self._mode:
            raise ConfigError(
                UNDEFINED_METRIC_MODE.format(cls="OptunaSearch", metric=self._metric, mode=self._mode)
            )
        if not self._space:
            raise ConfigError(UNDEFINED_SEARCH_SPACE.format(cls="OptunaSearch", space="space"))
        optuna = need("optuna", "optuna", ">=3.6", "OptunaSearch")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if isinstance(self._space, Mapping) and not self._is_optunas(optuna):
            self._parameters = flat_space(self._space, "OptunaSearch")
        modes = [self._mode] if isinstance(self._mode, str) else list(self._mode)
        metrics = [self._metric] if isinstance(self._metric, str) else list(self._metric)
        if len(modes) == 1:
            modes *= len(metrics)
        self._study = optuna.create_study(
            directions=["maximize" if mode == "max" else "minimize" for mode in modes],
            sampler=self._sampler or optuna.samplers.TPESampler(seed=self._seed),
            study_name=self._study_name,
            storage=self._storage,
            load_if_exists=True,
        )
        points, rewards = self._points, self._rewards
        for index, point in enumerate(points):
            if rewards:
                self.add_evaluated_point(point, rewards[index])
            else:
                self._study.enqueue_trial(self._flat(point))

    def _is_optunas(self, optuna: Any) -> bool:
        return isinstance(self._space, Mapping) and all(
            isinstance(each, optuna.distributions.BaseDistribution) for each in self._space.values()
        )

    def _flat(self, point: Mapping[str, Any]) -> dict[str, Any]:
        if not self._parameters:
            return dict(point)
        flat = point_of(point, self._parameters)
        for parameter in self._parameters:
            if parameter.kind == "choice" and parameter.name in flat:
                flat[parameter.name] = _choice_of(parameter, flat[parameter.name])
        return flat

    def suggest(self, trial_id: str) -> Any:
        """Return what the study asks for."""
        self._ready()
        optuna = need("optuna", "optuna", ">=3.6", "OptunaSearch")
        if callable(self._space):
            trial = self._study.ask()
            constants = self._space(trial)
            if constants is not None and not isinstance(constants, Mapping):
                raise ConfigError(
                    f"the function of the space must return a mapping or None, not {describe(constants)}"
                )
            self._given[trial_id] = trial
            return {**trial.params, **(constants or {})}
        if self._is_optunas(optuna):
            trial = self._study.ask(fixed_distributions=dict(self._space))
            self._given[trial_id] = trial
            return dict(trial.params)
        trial = self._study.ask()
        self._given[trial_id] = trial
        values = {parameter.name: _suggested(trial, parameter) for parameter in self._parameters}
        return nested(values, self._parameters)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Tell the study of a report, so that it knows the curve."""
        if isinstance(self._metric, str) and self._metric in result and trial_id in self._given:
            step = int(result.get("training_iteration", 0))
            self._given[trial_id].report(float(result[self._metric]), step)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study what a trial came to."""
        trial = self._given.pop(trial_id, None)
        if trial is None:
            return
        optuna = need("optuna", "optuna", ">=3.6", "OptunaSearch")
        metrics = [self._metric] if isinstance(self._metric, str) else list(self._metric)
        values = [float((result or {}).get(metric, math.nan)) for metric in metrics]
        if error or any(map(math.isnan, values)):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, values)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Tell the study of a past result. Raises ConfigError with a function as space: it has no distributions."""
        self._ready()
        optuna = need("optuna", "optuna", ">=3.6", "OptunaSearch")
        if callable(self._space):
            raise ConfigError(
                "past results need a space: a define-by-run function does not say its distributions"
            )
        states = optuna.trial.TrialState
        if self._is_optunas(optuna):
            distributions = dict(self._space)
        else:
            distributions = {each.name: _distribution(optuna, each) for each in self._parameters}
        flat = self._flat(parameters)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=states.FAIL if error else states.PRUNED if pruned else states.COMPLETE,
                value=None if error else value,
                params={name: flat[name] for name in distributions},
                distributions=distributions,
                intermediate_values=dict(enumerate(intermediate_values or ())),
            )
        )

    @property
    def study(self) -> Any:
        """The Optuna study, None before the first configuration."""
        return self._study


_PLAIN = (str, int, float, bool, type(None))


def _choice_of(parameter: Parameter, value: Any) -> Any:
    """Optuna's choices are plain values: what is not is chosen by its position."""
    return (
        value
        if all(isinstance(each, _PLAIN) for each in parameter.choices)
        else parameter.choices.index(value)
    )


def _suggested(trial: Any, parameter: Parameter) -> Any:
    if parameter.kind == "choice":
        if all(isinstance(each, _PLAIN) for each in parameter.choices):
            return trial.suggest_categorical(parameter.name, list(parameter.choices))
        return parameter.choices[
            trial.suggest_categorical(parameter.name, list(range(len(parameter.choices))))
        ]
    log = parameter.log
    if parameter.kind == "int":
        low, high = int(parameter.lower), int(parameter.upper)
        value = trial.suggest_int(
            parameter.name, low, high, step=1 if log else int(parameter.q or 1), log=log
        )
        return parameter.rounded(value)
    step = None if log else parameter.q
    value = trial.suggest_float(parameter.name, parameter.lower, parameter.upper, step=step, log=log)
    return parameter.rounded(value)


def _distribution(optuna: Any, parameter: Parameter) -> Any:
    found = optuna.distributions
    if parameter.kind == "choice":
        plain = all(isinstance(each, _PLAIN) for each in parameter.choices)
        return found.CategoricalDistribution(
            list(parameter.choices) if plain else list(range(len(parameter.choices)))
        )
    if parameter.kind == "int":
        step = 1 if parameter.log else int(parameter.q or 1)
        return found.IntDistribution(int(parameter.lower), int(parameter.upper), log=parameter.log, step=step)
    step_of = None if parameter.log else parameter.q
    return found.FloatDistribution(parameter.lower, parameter.upper, log=parameter.log, step=step_of)
