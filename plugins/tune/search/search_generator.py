"""A Searcher as what gives an experiment its configurations: counts, checks and fills in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.search_algorithm import DONE, WAIT, SearchAlgorithm, Suggestion
from shoal.tune.search.searcher import FINISHED, Searcher
from shoal.tune.search.variant_generator import assign_value, get_value, parse_spec_vars

__all__ = ["SearchGenerator"]


class SearchGenerator(SearchAlgorithm):
    """Asks a Searcher for as many configurations as `num_samples` says.

    Raises ConfigError for what is no Searcher.

    Example: `SearchGenerator(OptunaSearch())`
    """

    def __init__(self, searcher: Searcher) -> None:
        if not isinstance(searcher, Searcher):
            raise ConfigError(f"searcher must be a Searcher, not {describe(searcher)}")
        self.searcher = searcher
        self._samples = 1
        self._given = 0
        self._finished = False
        self._fixed: list[tuple[tuple[Any, ...], Any]] = []
        self._drawn: list[tuple[Any, ...]] = []

    @property
    def total_samples(self) -> int:
        """How many configurations there will be."""
        return self._samples

    def set_search_properties(self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any) -> bool:
        """Take metric, mode and space. Raises ConfigError for a space that the searcher does not take."""
        self._samples = int(spec.get("num_samples", 1))
        fixed, drawn, grids = parse_spec_vars(config)
        if grids:
            names = ", ".join("/".join(map(str, path)) for path, _ in grids)
            raise ConfigError(
                f"{type(self.searcher).__name__} goes through no grids, but the space has one for {names}: "
                "use tune.choice there, or no search_alg"
            )
        taken = self.searcher.set_search_properties(metric, mode, dict(config), **spec)
        if drawn and not taken and not getattr(self.searcher, "_space", None):
            raise ConfigError(
                f"{type(self.searcher).__name__} did not take the space: give it param_space or a space of its own"
            )
        self._fixed = fixed
        self._drawn = [path for path, _ in drawn]
        return taken

    def next(self, trial_id: str) -> Any:
        """Return what the searcher suggests, with what is fixed in the space."""
        if self._finished or (0 <= self._samples <= self._given):
            self._finished = True
            return DONE
        found = self.searcher.suggest(trial_id)
        if isinstance(found, str) and found == FINISHED:
            self._finished = True
            return DONE
        if found is None:
            return WAIT
        if not isinstance(found, Mapping):
            raise ConfigError(
                f"{type(self.searcher).__name__}.suggest() must return a configuration, None or Searcher.FINISHED, "
                f"not {describe(found)}"
            )
        self._given += 1
        config = dict(found)
        for path, value in self._fixed:
            _put(config, path, value)
        chosen: dict[tuple[Any, ...], Any] = {}
        for path in self._drawn or [(name,) for name in found]:
            try:
                chosen[path] = get_value(config, path)
            except (KeyError, IndexError, TypeError):
                continue
        return Suggestion(config, chosen)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass a report on."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass an end on."""
        self.searcher.on_trial_complete(trial_id, result, error)

    def is_finished(self) -> bool:
        """Return whether all were given."""
        return self._finished

    def set_finished(self) -> None:
        """Give no more."""
        self._finished = True

    def get_state(self) -> Any:
        """Return the searcher's state, pickled, and how many were given."""
        import os
        import tempfile

        with tempfile.TemporaryDirectory(prefix="shoal_searcher_") as folder:
            path = os.path.join(folder, "state")
            self.searcher.save(path)
            with open(path, "rb") as file:
                return {"searcher": file.read(), "given": self._given}

    def set_state(self, state: Any) -> None:
        """Go on from what `get_state` returned."""
        import os
        import tempfile

        with tempfile.TemporaryDirectory(prefix="shoal_searcher_") as folder:
            path = os.path.join(folder, "state")
            with open(path, "wb") as file:
                file.write(state["searcher"])
            self.searcher.restore(path)
        self._given = state["given"]

    def note_trial(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """Count a trial that the state does not know."""
        self._given += 1


def _put(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    """Put a fixed value in, making the mappings on its way; the searcher's own values stay."""
    at: Any = config
    for name in path[:-1]:
        if isinstance(at, dict):
            at = at.setdefault(name, {})
        else:
            return  # in a list: the searcher has made it whole
    if isinstance(at, dict) and path[-1] not in at:
        assign_value(at, (path[-1],), value)
