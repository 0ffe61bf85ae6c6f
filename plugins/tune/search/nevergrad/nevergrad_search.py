"""Nevergrad's gradient-free optimisers as a searcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.ask_tell import AskTellSearcher
from shoal.tune.search.spaces import Parameter, flat_space, need

__all__ = ["NevergradSearch"]


class NevergradSearch(AskTellSearcher):
    """Asks an optimiser of Nevergrad (1.0.8 or later).

    Parameters: `optimizer` is a name in its registry or a class of it ("NGOpt" by default), `optimizer_kwargs` are its
    own, such as "budget". `space` is a space of ours; `points_to_evaluate` come first.
    Raises ConfigError.

    Example: `TuneConfig(search_alg=NevergradSearch("OnePlusOne"), metric="loss", mode="min", num_samples=50)`
    """

    def __init__(
        self,
        optimizer: Any = None,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        library = need("nevergrad", "nevergrad", ">=1.0.8", "NevergradSearch")
        super().__init__(space, metric, mode, points_to_evaluate)
        if isinstance(optimizer, str) and optimizer not in library.optimizers.registry:
            import difflib

            close = difflib.get_close_matches(optimizer, list(library.optimizers.registry), n=3)
            raise ConfigError(
                f"nevergrad has no optimizer {optimizer!r}; similar ones are {', '.join(close) or 'none'}"
            )
        if optimizer is not None and not isinstance(optimizer, str) and not callable(optimizer):
            raise ConfigError(f"optimizer must be a name or a class of nevergrad, not {describe(optimizer)}")
        self._kind = optimizer or "NGOpt"
        self._options = dict(optimizer_kwargs or {})
        self._seed: int | None = None
        self._optimizer: Any = None

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        """Take what was not given before, and the experiment's seed and number of samples."""
        self._seed = spec.get("seed")
        if spec.get("num_samples", -1) > 0:
            self._options.setdefault("budget", spec["num_samples"])
        return super().set_search_properties(metric, mode, config, **spec)

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any]) -> Any:
        """Return a space as Nevergrad's; choices are of positions. Raises ConfigError for what Nevergrad cannot do.

        Example: `NevergradSearch.convert_search_space({"lr": tune.loguniform(1e-4, 1)})`
        """
        library = need("nevergrad", "nevergrad", ">=1.0.8", "NevergradSearch")
        return _space_of(library, flat_space(spec, "NevergradSearch"))

    def _begin(self) -> None:
        library = need("nevergrad", "nevergrad", ">=1.0.8", "NevergradSearch")
        space = _space_of(library, self._parameters)
        if self._seed is not None:
            space.random_state.seed(self._seed % 2**32)
        kind = library.optimizers.registry[self._kind] if isinstance(self._kind, str) else self._kind
        self._optimizer = kind(parametrization=space, **self._options)

    def _ask(self) -> tuple[Any, dict[str, Any]]:
        candidate = self._optimizer.ask()
        values = {
            each.name: each.choices[int(candidate.value[each.name])]
            if each.kind == "choice"
            else each.rounded(float(candidate.value[each.name]))
            for each in self._parameters
        }
        return candidate, values

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        if token is None:
            token = self._optimizer.parametrization.spawn_child(
                new_value={
                    each.name: each.choices.index(values[each.name])
                    if each.kind == "choice"
                    else values[each.name]
                    for each in self._parameters
                }
            )
        self._optimizer.tell(token, loss)


def _space_of(library: Any, parameters: list[Parameter]) -> Any:
    made = {}
    for each in parameters:
        if each.kind == "choice":
            made[each.name] = library.p.Choice(list(range(len(each.choices))))
        elif each.log:
            made[each.name] = library.p.Log(lower=each.lower, upper=each.upper)
        else:
            made[each.name] = library.p.Scalar(lower=each.lower, upper=each.upper)
    return library.p.Dict(**made)
