"""Grid and random search."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.search.sample import rng_of
from shoal.tune.search.search_algorithm import DONE, WAIT, SearchAlgorithm, Suggestion
from shoal.tune.search.variant_generator import (
    assign_value,
    count_variants,
    generate_variants,
    get_value,
    parse_spec_vars,
    resolve,
)

__all__ = ["BasicVariantGenerator"]


class BasicVariantGenerator(SearchAlgorithm):
    """Every combination of the space's grids, `num_samples` times, the rest drawn at random.

    Parameters: `points_to_evaluate` are configurations, or parts of them, to begin with. `max_concurrent` is how many
    trials run at once (0: as many as fit). With `constant_grid_search` what is drawn is the same for all combinations
    of a sample. `random_state` is a seed or a generator: the same seed gives the same configurations in any order of
    results.
    Raises ConfigError for what is none of these.

    Example: `TuneConfig(search_alg=BasicVariantGenerator(random_state=7))`
    """

    def __init__(
        self,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: Any = None,
    ) -> None:
        if max_concurrent < 0:
            raise ConfigError(f"max_concurrent must be at least 0, not {max_concurrent}")
        for point in points_to_evaluate or ():
            if not isinstance(point, Mapping):
                raise ConfigError(f"points_to_evaluate must hold configurations, not {describe(point)}")
        self.points = [dict(point) for point in points_to_evaluate or ()]
        self.max_concurrent = max_concurrent
        self.constant_grid_search = constant_grid_search
        # A seed of its own if none was given, so that a restored experiment goes on with the same sequence.
        self.seed = (
            random_state
            if isinstance(random_state, int) and not isinstance(random_state, bool)
            else rng_of(random_state).getrandbits(63)
        )
        self._space: Mapping[str, Any] = {}
        self._samples = 1
        self._total = 1
        self._given = 0
        self._live: set[str] = set()
        self._finished = False
        self._configs: Iterator[Suggestion] = iter(())

    @property
    def total_samples(self) -> int:
        """How many configurations there will be; −1 for no end."""
        return self._total

    def set_search_properties(self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any) -> bool:
        """Take the space, and `num_samples`. Raises ConfigError for points that the space does not have."""
        self._space = config
        self._samples = int(spec.get("num_samples", 1))
        for point in self.points:
            unknown = [name for name in point if name not in config]
            if unknown:
                raise ConfigError(
                    f"points_to_evaluate has {', '.join(map(repr, unknown))}, which the space does not have; "
                    f"it has {', '.join(map(repr, config)) or 'nothing'}"
                )
        # A point takes the place of all combinations of a sample.
        points = min(len(self.points), self._samples) if any(parse_spec_vars(config)[1:]) else 0
        self._total = -1 if self._samples < 0 else points + (self._samples - points) * count_variants(config)
        self._configs = self._all()
        return True

    def _all(self) -> Iterator[Suggestion]:
        rng = random.Random(self.seed)
        points = list(self.points)
        _, drawn, grids = parse_spec_vars(self._space)
        if not drawn and not grids:
            points = []
        sample = 0
        while self._samples < 0 or sample < self._samples:
            sample += 1
            if points:
                yield self._point(points.pop(0), rng)
                continue
            for chosen, config in generate_variants(self._space, self.constant_grid_search, rng):
                yield Suggestion(config, chosen)

    def _point(self, point: Mapping[str, Any], rng: random.Random) -> Suggestion:
        given = {}
        for path, _ in [*parse_spec_vars(self._space)[1], *parse_spec_vars(self._space)[2]]:
            try:
                given[path] = get_value(point, path)
            except (KeyError, IndexError, TypeError):
                continue
        chosen, config = resolve(self._space, rng, given)
        for name, value in point.items():
            if not isinstance(value, Mapping):
                assign_value(config, (name,), value)
        return Suggestion(config, chosen)

    def next(self, trial_id: str) -> Any:
        """Return the next configuration."""
        if self._finished:
            return DONE
        if self.max_concurrent and len(self._live) >= self.max_concurrent:
            return WAIT
        found = next(self._configs, None)
        if found is None:
            self._finished = True
            return DONE
        self._given += 1
        self._live.add(trial_id)
        return found

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Know that a trial has ended."""
        self._live.discard(trial_id)

    def is_finished(self) -> bool:
        """Return whether there is nothing to try any more."""
        return self._finished or self._given == self._total

    def set_finished(self) -> None:
        """Give nothing any more."""
        self._finished = True

    def get_state(self) -> Any:
        """Return the seed and how many configurations were given."""
        return {"seed": self.seed, "given": self._given}

    def set_state(self, state: Any) -> None:
        """Go on after so many configurations of that seed."""
        self.seed = state["seed"]
        self._configs = self._all()
        self._given = 0
        self._live.clear()
        for _ in range(state["given"]):
            next(self._configs, None)
            self._given += 1

    def note_trial(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """Leave out the configuration that this trial has."""
        next(self._configs, None)
        self._given += 1
