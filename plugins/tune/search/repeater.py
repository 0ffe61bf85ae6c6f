"""Tries each configuration several times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.searcher import Searcher
from shoal.tune.search.wrapping import WrappingSearcher

__all__ = ["TRIAL_INDEX", "Repeater"]

TRIAL_INDEX = "__trial_index__"


class Repeater(WrappingSearcher):
    """Tries each configuration of a searcher `repeat` times, and tells it the mean.

    Do not put it in a ConcurrencyLimiter; the other way round is right. `num_samples` counts repetitions.

    Parameters: with `set_index` the configuration has which repetition it is, as "__trial_index__".
    Raises ConfigError for what is no searcher.

    Example: `Repeater(OptunaSearch(metric="loss", mode="min"), repeat=3)`
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        if not isinstance(searcher, Searcher):
            raise ConfigError(f"searcher must be a Searcher, not {describe(searcher)}")
        if repeat < 1:
            raise ConfigError(f"repeat must be at least 1, not {repeat}")
        self.searcher = searcher
        self.repeat = repeat
        self._set_index = set_index
        self._groups: dict[
            str, dict[str, float | None]
        ] = {}  # the first of a group: its trials and their values
        self._group_of: dict[str, str] = {}
        self._open: tuple[str, dict[str, Any]] | None = None
        super().__init__(searcher.metric, searcher.mode)

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        """Pass metric, mode and space on."""
        taken = self.searcher.set_search_properties(metric, mode, config, **spec)
        self._metric, self._mode = self.searcher.metric, self.searcher.mode
        return taken

    @property
    def _space(self) -> Any:
        return getattr(self.searcher, "_space", None)

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration that is being repeated, or another one."""
        if self._open is None or len(self._groups[self._open[0]]) >= self.repeat:
            found = self.searcher.suggest(trial_id)
            if found is None or found == Searcher.FINISHED:
                return found
            self._open = trial_id, found
            self._groups[trial_id] = {}
        first, config = self._open
        group = self._groups[first]
        index = len(group)
        group[trial_id] = None
        self._group_of[trial_id] = first
        return {**config, TRIAL_INDEX: index} if self._set_index else dict(config)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False, **kwargs: Any
    ) -> None:
        """Tell the searcher the mean, when all repetitions have ended."""
        first = self._group_of.pop(trial_id, None)
        if first is None:
            return
        group = self._groups[first]
        value = (result or {}).get(self._metric)
        group[trial_id] = float("nan") if value is None else float(value)
        if len(group) < self.repeat or any(each is None for each in group.values()):
            return
        del self._groups[first]
        if self._open is not None and self._open[0] == first:
            self._open = None
        values = [each for each in group.values() if each is not None and each == each]
        if values:
            mean = {**(result or {}), self._metric: sum(values) / len(values)}
            self.searcher.on_trial_complete(first, mean)
        else:
            self.searcher.on_trial_complete(first, None, True)
