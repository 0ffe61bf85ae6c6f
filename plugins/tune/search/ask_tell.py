"""What searchers over other libraries have in common: a space, points to begin with, and who was given what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.searcher import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher
from shoal.tune.search.spaces import Parameter, flat_space, nested, point_of

__all__ = ["AskTellSearcher"]


class AskTellSearcher(Searcher):
    """A searcher that asks a library for points and tells it what they came to; more is better, or less as it likes.

    A subclass has `_begin` (make the library's optimiser for `self._parameters`), `_ask` (return flat values and a
    token, None for not now) and `_tell` (the token or None, the flat values, and a number of which less is better).
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: Any = None,
        mode: Any = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        max_concurrent: int = 0,
    ) -> None:
        super().__init__(metric, mode)
        if space is not None and not isinstance(space, Mapping):
            raise ConfigError(f"space must be a mapping, not {describe(space)}")
        for point in points_to_evaluate or ():
            if not isinstance(point, Mapping):
                raise ConfigError(f"points_to_evaluate must hold configurations, not {describe(point)}")
        self._space: Any = dict(space) if space is not None else None
        self._points = [dict(point) for point in points_to_evaluate or ()]
        self._max_concurrent = max_concurrent
        self._parameters: list[Parameter] = []
        self._live: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._early: list[tuple[dict[str, Any], float]] = []  # results told before the space was
        self._begun = False

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        """Take what was not given before; return whether the space was taken."""
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        if getattr(self, "_seed", 0) is None:
            self._seed = spec.get("seed")
        if self._space is not None:
            return False
        self._space = dict(config)
        return True

    def _ready(self) -> None:
        if self._begun:
            return
        name = type(self).__name__
        if not self._metric or not self._mode:
            raise ConfigError(UNDEFINED_METRIC_MODE.format(cls=name, metric=self._metric, mode=self._mode))
        if not self._space:
            raise ConfigError(UNDEFINED_SEARCH_SPACE.format(cls=name, space="space"))
        self._parameters = flat_space(self._space, name)
        if not self._parameters:
            raise ConfigError(
                f"{name} has nothing to search for: the space has no domain such as tune.uniform()"
            )
        known = {parameter.name for parameter in self._parameters}
        for point in self._points:
            missing = known - point_of(point, self._parameters).keys()
            if missing:
                raise ConfigError(f"a point of points_to_evaluate lacks {', '.join(sorted(missing))}")
        self._begin()
        self._begun = True
        for values, loss in self._early:
            self._tell(None, values, loss)
        self._early.clear()

    def suggest(self, trial_id: str) -> Any:
        """Return the next point, None while too many are under way."""
        self._ready()
        if self._max_concurrent and len(self._live) >= self._max_concurrent:
            return None
        if self._points:
            token, values = None, point_of(self._points.pop(0), self._parameters)
        else:
            asked = self._ask()
            if asked is None:
                return None
            token, values = asked
        self._live[trial_id] = (token, values)
        return nested(values, self._parameters)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the library what the point came to; what failed or is no number is left out."""
        token, values = self._live.pop(trial_id, (None, {}))
        if not values:
            return
        if error or result is None or self._metric not in result:
            self._drop(token, values)
            return
        value = float(result[self._metric])
        if not math.isfinite(value):
            self._drop(token, values)
            return
        self._tell(token, values, value if self._mode == "min" else -value)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Tell the library of a past result."""
        if error or pruned or not math.isfinite(value):
            return
        self._ready()
        values = point_of(parameters, self._parameters)
        if len(values) == len(self._parameters):
            self._tell(None, values, value if self._mode == "min" else -value)

    def _begin(self) -> None:
        raise NotImplementedError

    def _ask(self) -> tuple[Any, dict[str, Any]] | None:
        raise NotImplementedError

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        raise NotImplementedError

    def _drop(self, token: Any, values: dict[str, Any]) -> None:
        """Know that nothing came of a point."""
