"""What is logged of sampling and learning, by nested names, in one process or in several."""

# ruff: noqa: A002  # `compile` is what the reference calls it

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from shoal.errors import ConfigError
from shoal.rllib.metrics.stats import (
    EmaStats,
    ItemSeriesStats,
    ItemStats,
    LifetimeSumStats,
    MaxStats,
    MeanStats,
    MinStats,
    PercentilesStats,
    StatsBase,
    SumStats,
)

Key: TypeAlias = "str | tuple[str, ...]"

STATS: Mapping[str, type[StatsBase]] = {
    "mean": MeanStats,
    "ema": EmaStats,
    "min": MinStats,
    "max": MaxStats,
    "sum": SumStats,
    "lifetime_sum": LifetimeSumStats,
    "percentiles": PercentilesStats,
    "item": ItemStats,
    "item_series": ItemSeriesStats,
}


class MetricsLogger:
    """Numbers by nested names. Log in any process; `reduce` gives them away, `aggregate` puts several' together.

    The first time a name is logged says what becomes of its numbers: `reduce` is "mean", "ema", "min", "max", "sum",
    "lifetime_sum", "percentiles", "item" or "item_series" (or one of `stats_cls_lookup`), `window` how many of the last
    ones count, `ema_coeff` how much a new one does. Without any a name is a mean with `ema_coeff` 0.01.

    Parameters: `root` is whether numbers of other loggers end here.

    Example: `logger.log_value(("learner", "loss"), 0.5, window=10); logger.peek(("learner", "loss"))`
    """

    def __init__(
        self, root: bool = False, stats_cls_lookup: Mapping[str, type[StatsBase]] | None = None
    ) -> None:
        self.root = root
        self._kinds = STATS if stats_cls_lookup is None else stats_cls_lookup
        self.stats: dict[str, Any] = {}

    def log_value(
        self,
        key: Key,
        value: Any,
        *,
        reduce: str | None = None,
        window: int | None = None,
        ema_coeff: float | None = None,
        percentiles: Sequence[float] | bool | None = None,
        clear_on_reduce: bool | None = None,
        with_throughput: bool = False,
        throughput_ema_coeff: float | None = None,
        reduce_per_index_on_aggregate: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Log a number. Raises ConfigError for settings that are unknown, or contradict each other."""
        refused = {
            "throughput_ema_coeff": throughput_ema_coeff,
            "reduce_per_index_on_aggregate": reduce_per_index_on_aggregate,
            **kwargs,
        }
        told = [name for name, given in refused.items() if given is not None]
        if told:
            raise ConfigError(f"{', '.join(told)}: there is no such setting of a logged value")
        stats = self._stats(key)
        if stats is None:
            stats = self._made(reduce, window, ema_coeff, percentiles, clear_on_reduce, with_throughput)
            stats.is_root = self.root
            self._put(key, stats)
        stats.push(value)

    def log_dict(
        self,
        value_dict: Mapping[str, Any],
        *,
        key: Key | None = None,
        reduce: str | None = None,
        window: int | None = None,
        ema_coeff: float | None = None,
        percentiles: Sequence[float] | bool | None = None,
        clear_on_reduce: bool | None = None,
        with_throughput: bool = False,
        throughput_ema_coeff: float | None = None,
        reduce_per_index_on_aggregate: bool | None = None,
    ) -> None:
        """Log the numbers of nested dictionaries, all with the same settings, below `key` if it is given."""
        settings: dict[str, Any] = {
            "reduce": reduce,
            "window": window,
            "ema_coeff": ema_coeff,
            "percentiles": percentiles,
            "clear_on_reduce": clear_on_reduce,
            "with_throughput": with_throughput,
            "throughput_ema_coeff": throughput_ema_coeff,
            "reduce_per_index_on_aggregate": reduce_per_index_on_aggregate,
        }
        for name, value in value_dict.items():
            below = (*_path(key), name) if key is not None else (name,)
            if isinstance(value, Mapping):
                self.log_dict(value, key=below, **settings)
            else:
                self.log_value(below, value, **settings)

    def log_time(
        self,
        key: Key,
        *,
        reduce: str | None = None,
        window: int | None = None,
        ema_coeff: float | None = None,
        percentiles: Sequence[float] | bool | None = None,
        clear_on_reduce: bool | None = None,
        with_throughput: bool = False,
        throughput_ema_coeff: float | None = None,
        reduce_per_index_on_aggregate: bool | None = None,
    ) -> Any:
        """Return what logs the seconds that the block of a `with` takes.

        Example: `with logger.log_time("sampling"): sample()`
        """
        if throughput_ema_coeff is not None or reduce_per_index_on_aggregate is not None:
            raise ConfigError(
                "throughput_ema_coeff, reduce_per_index_on_aggregate: there are no such settings"
            )
        stats = self._stats(key)
        if stats is None:
            stats = self._made(reduce, window, ema_coeff, percentiles, clear_on_reduce, with_throughput)
            stats.is_root = self.root
            self._put(key, stats)
        return stats

    def peek(
        self,
        key: Key | None = None,
        default: Any = None,
        compile: bool = True,
        throughput: bool = False,
        latest_merged_only: bool = False,
    ) -> Any:
        """Return what is under a name (None: everything), without beginning anew.

        With `throughput` how much a second. Raises KeyError for an unknown name without `default`.
        """
        found = self.stats if key is None else self._found(key)
        if found is None:
            if default is None:
                raise KeyError(f"nothing is logged under {key!r}")
            return default
        if throughput:
            return _mapped(found, lambda each: each.throughputs if each.has_throughputs else None)
        return _mapped(found, lambda each: each.peek(compile, latest_merged_only))

    @staticmethod
    def peek_results(results: Any, compile: bool = True) -> Any:
        """Return what numbers that `reduce(compile=False)` gave come to."""
        return _mapped(results, lambda each: each.peek(compile))

    def reduce(self, compile: bool = True) -> dict[str, Any]:
        """Return what everything comes to and begin anew; without `compile` as numbers that can be aggregated."""
        told: dict[str, Any] = _mapped(self.stats, lambda each: each.reduce(compile))
        return told

    def compile(self) -> dict[str, Any]:
        """Return what everything comes to and begin anew, throughputs beside their sums under `…_throughput`."""
        rates = _mapped(self.stats, lambda each: each.throughputs if each.has_throughputs else None)
        return _with_rates(self.reduce(), rates)

    def aggregate(self, stats_dicts: Sequence[Mapping[str, Any]], *, key: Key | None = None) -> None:
        """Put together what several loggers' `reduce(compile=False)` gave, below `key` if it is given."""
        gathered: dict[tuple[str, ...], list[StatsBase]] = {}
        for each in stats_dicts:
            for path, stats in _leaves(each):
                gathered.setdefault((*_path(key), *path) if key is not None else path, []).append(stats)
        for path, every in gathered.items():
            ours = self._stats(path)
            if ours is None:
                ours = every[0].clone()
                ours.is_root = self.root
                self._put(path, ours)
            ours.merge(every)

    def merge_and_log_n_dicts(self, *args: Any, **kwargs: Any) -> None:
        """Do as `aggregate`."""
        self.aggregate(*args, **kwargs)

    def set_value(self, *args: Any, **kwargs: Any) -> None:
        """Put a number in the place of those under a name: (key, value)."""
        key, value = (*args, *kwargs.values())[:2]
        stats = self._stats(key)
        if stats is not None:
            fresh = stats.clone()
            self._put(key, fresh)
            fresh.push(value)
        else:
            self.log_value(key, value, reduce="item")

    def delete(self, *key: str, key_error: bool = True) -> None:
        """Forget a name. Raises KeyError if there is none, unless told otherwise."""
        path = tuple(part for each in key for part in _path(each))
        holder: Any = self.stats
        for part in path[:-1]:
            holder = holder.get(part, {}) if isinstance(holder, dict) else {}
        if path[-1] in holder:
            del holder[path[-1]]
        elif key_error:
            raise KeyError(f"nothing is logged under {path!r}")

    def reset(self) -> None:
        """Forget everything."""
        self.stats = {}

    def activate_tensor_mode(self) -> None:
        """Do nothing: tensors may be logged at any time, and become numbers where they are peeked at."""

    def deactivate_tensor_mode(self) -> None:
        """Do nothing, as `activate_tensor_mode`."""

    def get_state(self) -> dict[str, Any]:
        """Return all that `set_state` takes."""
        return {"stats": {path: each.get_state() for path, each in _leaves(self.stats)}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take a state."""
        self.stats = {}
        kinds = {kind.__name__: kind for kind in (*STATS.values(), *self._kinds.values())}
        for path, each in state["stats"].items():
            made = kinds[each["class"]].from_state(each)
            made.is_root = self.root
            self._put(path, made)

    def __contains__(self, key: Key) -> bool:
        return self._found(key) is not None

    def _made(
        self, reduce: Any, window: Any, ema: Any, percentiles: Any, clears: Any, rates: bool
    ) -> StatsBase:
        if window is not None and ema is not None:
            raise ConfigError("give window or ema_coeff, not both")
        if reduce is None:
            reduce = "percentiles" if percentiles else "mean" if window is not None else "ema"
        if reduce == "mean" and window is None and not clears and ema is None:
            reduce = "ema"
        if reduce == "mean" and ema is not None:
            reduce = "ema"
        if reduce == "sum" and clears is False:
            reduce = "lifetime_sum"
        if reduce not in self._kinds:
            raise ConfigError(f"reduce must be one of {', '.join(self._kinds)}, not {reduce!r}")
        settings: dict[str, Any] = {}
        if reduce in ("mean", "min", "max", "percentiles", "item_series"):
            settings["window"] = window
        if reduce == "percentiles":
            settings["percentiles"] = percentiles
        if reduce == "ema" and ema is not None:
            settings["ema_coeff"] = ema
        if reduce in ("sum", "lifetime_sum"):
            settings["with_throughput"] = rates
        elif rates:
            raise ConfigError(f'with_throughput is for "sum" and "lifetime_sum", not for {reduce!r}')
        return self._kinds[reduce](**settings)

    def _found(self, key: Key) -> Any:
        found: Any = self.stats
        for part in _path(key):
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        return found

    def _stats(self, key: Key) -> StatsBase | None:
        found = self._found(key)
        if isinstance(found, dict):
            raise ConfigError(f"{key!r} has names below it, so no number can be logged there")
        return found  # type: ignore[no-any-return]

    def _put(self, key: Key, stats: StatsBase) -> None:
        path = _path(key)
        holder = self.stats
        for part in path[:-1]:
            holder = holder.setdefault(part, {})
            if not isinstance(holder, dict):
                raise ConfigError(f"{part!r} of {key!r} is a number already, so nothing can be below it")
        holder[path[-1]] = stats


def _path(key: Any) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _mapped(found: Any, function: Any) -> Any:
    if isinstance(found, Mapping):
        return {name: _mapped(each, function) for name, each in found.items()}
    return function(found) if isinstance(found, StatsBase) else found


def _leaves(found: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], StatsBase]]:
    made: list[tuple[tuple[str, ...], StatsBase]] = []
    for name, each in found.items():
        if isinstance(each, Mapping):
            made += _leaves(each, (*path, name))
        elif isinstance(each, StatsBase):
            made.append(((*path, name), each))
    return made


def _with_rates(told: dict[str, Any], rates: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for name, value in told.items():
        if isinstance(value, dict):
            made[name] = _with_rates(value, rates[name])
            continue
        made[name] = value
        if rates[name] is not None:
            made[f"{name}_throughput"] = rates[name]
    return made
