"""Bounds how many trials a searcher has under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.searcher import Searcher
from shoal.tune.search.wrapping import WrappingSearcher

__all__ = ["ConcurrencyLimiter"]


class ConcurrencyLimiter(WrappingSearcher):
    """Asks a searcher only while fewer than `max_concurrent` of its trials run.

    Parameters: with `batch` it is told of results, and asked again, when all of so many trials have ended.
    Raises ConfigError for what is no searcher.

    Example: `ConcurrencyLimiter(OptunaSearch(), max_concurrent=4)`
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        if not isinstance(searcher, Searcher):
            raise ConfigError(f"searcher must be a Searcher, not {describe(searcher)}")
        if max_concurrent < 1:
            raise ConfigError(f"max_concurrent must be at least 1, not {max_concurrent}")
        self.searcher = searcher
        self.max_concurrent = max_concurrent
        self.batch = batch
        self.live: set[str] = set()
        self._ended: dict[str, tuple[Mapping[str, Any] | None, bool]] = {}
        searcher.set_max_concurrency(max_concurrent)
        super().__init__(searcher.metric, searcher.mode)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Take another bound. It keeps to it by itself."""
        self.max_concurrent = max_concurrent
        return True

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        """Pass metric, mode and space on."""
        taken = self.searcher.set_search_properties(metric, mode, config, **spec)
        self._metric, self._mode = self.searcher.metric, self.searcher.mode
        return taken

    @property
    def _space(self) -> Any:
        return getattr(self.searcher, "_space", None)

    def suggest(self, trial_id: str) -> Any:
        """Return what the searcher suggests, None while enough trials run."""
        if len(self.live) >= self.max_concurrent or (self.batch and self._ended):
            return None
        found = self.searcher.suggest(trial_id)
        if found is not None and found != Searcher.FINISHED:
            self.live.add(trial_id)
        return found

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass a report on."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass an end on, in a batch when it is the last."""
        if trial_id not in self.live:
            return
        if not self.batch:
            self.searcher.on_trial_complete(trial_id, result, error)
            self.live.discard(trial_id)
            return
        self._ended[trial_id] = (result, error)
        if len(self._ended) >= len(self.live):
            for each, (last, failed) in self._ended.items():
                self.searcher.on_trial_complete(each, last, failed)
            self._ended.clear()
            self.live.clear()

    def on_pause(self, trial_id: str) -> None:
        """Pass a pause on."""
        self.searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Pass the end of a pause on."""
        self.searcher.on_unpause(trial_id)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Pass a past result on."""
        self.searcher.add_evaluated_point(parameters, value, error, pruned, intermediate_values)
