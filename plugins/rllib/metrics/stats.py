"""Numbers that are logged again and again, and what becomes of them: a mean, a sum, the greatest, …"""

# ruff: noqa: A002  # `compile` is what the reference calls it

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from shoal.errors import ConfigError, describe


def single_value_to_cpu(value: Any) -> Any:
    """Return a number of a tensor or an array of no dimensions; others as they are.

    Example: `single_value_to_cpu(torch.tensor(1.5))  # 1.5`
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return value.item() if value.numel() == 1 else value.numpy()
    return value.item() if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 else value


def batch_values_to_cpu(values: Sequence[Any]) -> list[Any]:
    """Return numbers of tensors, those of a GPU in one copy.

    Example: `batch_values_to_cpu([torch.tensor(1.0), 2])  # [1.0, 2]`
    """
    if values and all(isinstance(each, torch.Tensor) and each.numel() == 1 for each in values):
        return list(torch.stack([each.detach().reshape(()).float() for each in values]).cpu().tolist())
    return [single_value_to_cpu(each) for each in values]


def safe_isnan(value: Any) -> bool:
    """Return whether a number is none; whatever is no number is not.

    Example: `safe_isnan(float("nan"))  # True`
    """
    if isinstance(value, torch.Tensor):
        return bool(torch.isnan(value).any())
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def compute_percentiles(sorted_list: Sequence[float], percentiles: Sequence[float]) -> dict[float, float]:
    """Return percentiles of numbers in order, with numbers between two of them as they lie.

    Example: `compute_percentiles([1, 2, 3], [50])  # {50: 2.0}`
    """
    if not len(sorted_list):
        return {each: float("nan") for each in percentiles}
    return {each: float(np.percentile(sorted_list, each)) for each in percentiles}


class StatsBase(ABC):
    """Numbers under one name. `push` one, `peek` at what they come to, `reduce` and begin anew.

    In a `with` statement the seconds that its block takes are pushed. Those of several processes are merged where they
    come together (`is_root`), of what `reduce(compile=False)` gave.

    Example: `stats = MeanStats(window=2); stats.push(1.0); stats.push(3.0); stats.peek()  # 2.0`
    """

    def __init__(self, is_root: bool = False, is_leaf: bool = True) -> None:
        self.is_root, self.is_leaf = is_root, is_leaf
        self._began: list[float] = []

    @abstractmethod
    def push(self, value: Any) -> None:
        """Add a number."""

    @abstractmethod
    def peek(self, compile: bool = True, latest_merged_only: bool = False) -> Any:
        """Return what the numbers come to; without `compile` as a list of it. Nothing is begun anew."""

    @abstractmethod
    def merge(self, incoming_stats: Sequence[Any]) -> None:
        """Add the numbers of others like this one."""

    @abstractmethod
    def _begin(self) -> None:
        """Forget what `reduce` has given away."""

    @abstractmethod
    def get_state(self) -> dict[str, Any]:
        """Return all that `set_state` takes."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take a state. Raises ConfigError for one of another kind."""
        if state["class"] != type(self).__name__:
            raise ConfigError(f"this state is of {state['class']}, not of {type(self).__name__}")
        for name, value in state.items():
            if name != "class":
                setattr(self, name, deque(value) if isinstance(getattr(self, name, None), deque) else value)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> StatsBase:
        """Return numbers with a state."""
        made = cls.__new__(cls)
        StatsBase.__init__(made)
        made.__init__(**{k: v for k, v in state.items() if k in _SETTINGS})  # type: ignore[misc]
        made.set_state(state)
        return made

    def reduce(self, compile: bool = True) -> Any:
        """Return what the numbers come to and begin anew; without `compile` as numbers that can be merged."""
        if compile:
            told = self.peek()
            self._begin()
            return told
        given = self.clone()
        given.set_state(self.get_state())
        self._begin()
        return given

    def clone(self, init_overrides: Mapping[str, Any] | None = None) -> StatsBase:
        """Return one like this without numbers, made with other settings where they are told."""
        made = type(self)(**{**self._settings(), **(init_overrides or {})})
        made.is_root, made.is_leaf = self.is_root, self.is_leaf
        return made

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SETTINGS if hasattr(self, name)}

    def _state(self, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in (*names, *self._settings())}
        return {
            "class": type(self).__name__,
            **{name: list(each) if isinstance(each, deque) else each for name, each in values.items()},
        }

    @property
    def has_throughputs(self) -> bool:
        """Whether it tells how many a second."""
        return False

    def initialize_throughput_reference_time(self, time: float) -> None:  # noqa: B027  # most have none
        """Count throughputs from a time on; others do nothing."""

    def __enter__(self) -> StatsBase:
        self._began.append(time.perf_counter())
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, tb: Any) -> None:
        self.push(time.perf_counter() - self._began.pop())

    def __len__(self) -> int:
        return 1

    def __float__(self) -> float:
        return float(self.peek())

    def __int__(self) -> int:
        return int(self.peek())

    def __eq__(self, other: object) -> bool:
        return bool(self.peek() == (other.peek() if isinstance(other, StatsBase) else other))

    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Any:
        return self.peek() + _number(other)

    def __sub__(self, other: Any) -> Any:
        return self.peek() - _number(other)

    def __mul__(self, other: Any) -> Any:
        return self.peek() * _number(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.peek()})"


_SETTINGS = ("window", "ema_coeff", "percentiles", "with_throughput")


class SeriesStats(StatsBase, ABC):
    """Numbers that are kept, the last `window` of them (None: all until `reduce`), and reduced to one."""

    def __init__(self, window: int | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if window is not None and window < 1:
            raise ConfigError(f"window must be at least 1, not {window}")
        self.window = window
        self.values: deque[Any] = deque(maxlen=window)
        self._merged: list[Any] = []

    @abstractmethod
    def window_reduce(self, values: Sequence[Any] | None = None) -> Any:
        """Return what numbers come to; None: those that are kept."""

    def running_reduce(self, value_1: Any, value_2: Any) -> Any:
        """Return what two numbers come to."""
        return self.window_reduce([value_1, value_2])

    def push(self, value: Any) -> None:
        """Add a number."""
        self.values.append(value)

    def peek(self, compile: bool = True, latest_merged_only: bool = False) -> Any:
        """Return what the numbers come to, or with `latest_merged_only` those that were merged last."""
        told = self.window_reduce(self._merged if latest_merged_only else None)
        return told if compile else [told]

    def merge(self, incoming_stats: Sequence[Any]) -> None:
        """Add the numbers of others, one of each by turns, so that a window has some of all."""
        every = [list(each.values) for each in incoming_stats]
        self._merged = [
            values[place]
            for place in range(max((len(values) for values in every), default=0))
            for values in every
            if place < len(values)
        ]
        self.values.extend(self._merged)

    def _begin(self) -> None:
        if self.window is None or not self.is_root:
            self.values.clear()

    def get_state(self) -> dict[str, Any]:
        """Return all that `set_state` takes."""
        return self._state("values")

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take a state."""
        super().set_state(state)
        self.values = deque(state["values"], maxlen=self.window)

    def _listed(self, values: Sequence[Any] | None) -> list[Any]:
        return [
            each
            for each in batch_values_to_cpu(list(self.values if values is None else values))
            if not safe_isnan(each)
        ]

    def __len__(self) -> int:
        return len(self.values)


class MeanStats(SeriesStats):
    """The mean."""

    def window_reduce(self, values: Sequence[Any] | None = None) -> Any:
        """Return the mean; of nothing it is no number."""
        listed = self._listed(values)
        return float(np.mean(listed)) if listed else float("nan")


class MinStats(SeriesStats):
    """The least."""

    def window_reduce(self, values: Sequence[Any] | None = None) -> Any:
        """Return the least; of nothing it is no number."""
        return min(self._listed(values), default=float("nan"))


class MaxStats(SeriesStats):
    """The greatest."""

    def window_reduce(self, values: Sequence[Any] | None = None) -> Any:
        """Return the greatest; of nothing it is no number."""
        return max(self._listed(values), default=float("nan"))


class PercentilesStats(SeriesStats):
    """Percentiles: `percentiles` is which (None: 0, 50, 75, 90, 95, 99, 100)."""

    def __init__(
        self,
        percentiles: Sequence[float] | bool | None = None,
        window: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(window, *args, **kwargs)
        self.percentiles = [0, 50, 75, 90, 95, 99, 100] if percentiles in (None, True) else list(percentiles)  # type: ignore[arg-type]

    def window_reduce(self, values: Sequence[Any] | None = None) -> Any:
        """Return percentiles by their numbers."""
        return compute_percentiles(sorted(self._listed(values)), self.percentiles)


class ItemSeriesStats(SeriesStats):
    """Things as they are, in a list."""

    def push(self, item: Any) -> None:
        """Add a thing."""
        super().push(item)

    def window_reduce(self, values: Sequence[Any] | None = None) -> Any:
        """Return the list."""
        return list(self.values if values is None else values)


class ItemStats(StatsBase):
    """One thing: the last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.item: Any = None

    def push(self, item: Any) -> None:
        """Put a thing in the place of the one before."""
        self.item = item

    def peek(self, compile: bool = True, latest_merged_only: bool = False) -> Any:
        """Return the thing."""
        told = single_value_to_cpu(self.item)
        return told if compile else [told]

    def merge(self, incoming_stats: Sequence[Any]) -> None:
        """Take the only other one's thing. Raises ConfigError for several: which is it?"""
        if len(incoming_stats) > 1:
            raise ConfigError(
                "there is one thing under this name and several come in: log each under its own name"
            )
        for each in incoming_stats:
            self.item = each.item

    def _begin(self) -> None:
        self.item = None

    def get_state(self) -> dict[str, Any]:
        """Return all that `set_state` takes."""
        return self._state("item")


class EmaStats(StatsBase):
    """A mean in which the last numbers count most: each new one by `ema_coeff`."""

    def __init__(self, ema_coeff: float | None = 0.01, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ema_coeff = 0.01 if ema_coeff is None else ema_coeff
        if not 0 < self.ema_coeff <= 1:
            raise ConfigError(f"ema_coeff must be more than 0 and at most 1, not {describe(ema_coeff)}")
        self.value: Any = None

    def push(self, value: Any) -> None:
        """Add a number."""
        value = single_value_to_cpu(value)
        if not safe_isnan(value):
            self.value = value if self.value is None else self.value + self.ema_coeff * (value - self.value)

    def peek(self, compile: bool = True, latest_merged_only: bool = False) -> Any:
        """Return the mean."""
        told = float("nan") if self.value is None else self.value
        return told if compile else [told]

    def merge(self, incoming_stats: Sequence[Any]) -> None:
        """Add the mean of the others' means."""
        theirs = [each.value for each in incoming_stats if each.value is not None]
        if theirs:
            self.push(float(np.mean(theirs)))

    def _begin(self) -> None:
        if not self.is_root:
            self.value = None

    def get_state(self) -> dict[str, Any]:
        """Return all that `set_state` takes."""
        return self._state("value")


class SumStats(StatsBase):
    """The sum since `reduce`; with `with_throughput` also how much a second."""

    def __init__(self, with_throughput: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.with_throughput = with_throughput
        self.total: Any = 0.0
        self._merged: Any = 0.0
        self._since = time.perf_counter()

    def push(self, value: Any) -> None:
        """Add a number."""
        self.total = self.total + single_value_to_cpu(value)

    def peek(self, compile: bool = True, latest_merged_only: bool = False) -> Any:
        """Return the sum."""
        told = self._merged if latest_merged_only else self.total
        return told if compile else [told]

    def merge(self, incoming_stats: Sequence[Any]) -> None:
        """Add the sums of others."""
        self._merged = sum(each.total for each in incoming_stats)
        self.total = self.total + self._merged

    @property
    def has_throughputs(self) -> bool:
        """Whether it tells how much a second."""
        return self.with_throughput

    @property
    def throughputs(self) -> Any:
        """How much a second, since it began."""
        return self.total / max(1e-9, time.perf_counter() - self._since)

    def initialize_throughput_reference_time(self, time: float) -> None:
        """Count throughputs from a time on."""
        self._since = time

    def _begin(self) -> None:
        self.total, self._since = 0.0, time.perf_counter()

    def get_state(self) -> dict[str, Any]:
        """Return all that `set_state` takes."""
        return self._state("total")


class LifetimeSumStats(StatsBase):
    """The sum since ever; what `reduce` gives away to be merged is what came since the last time."""

    def __init__(self, with_throughput: bool = False, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.with_throughput = with_throughput
        self.total: Any = 0.0
        self.before: Any = 0.0
        self._restored: Any = 0.0
        self._since_reduce = self._since_restore = time.perf_counter()

    def push(self, value: Any) -> None:
        """Add a number."""
        self.total = self.total + single_value_to_cpu(value)

    def peek(self, compile: bool = True, latest_merged_only: bool = False) -> Any:
        """Return the sum."""
        return self.total if compile else [self.total]

    def reduce(self, compile: bool = True) -> Any:
        """Return the sum, or what came since the last time as a sum that can be merged."""
        if compile:
            told = self.total
            self._begin()
            return told
        given = LifetimeSumStats(self.with_throughput)
        given.total = self.total - self.before
        self._begin()
        return given

    def merge(self, incoming_stats: Sequence[Any]) -> None:
        """Add the sums of others."""
        self.total = self.total + sum(each.total for each in incoming_stats)

    @property
    def has_throughputs(self) -> bool:
        """Whether it tells how much a second."""
        return self.with_throughput

    @property
    def throughput_since_last_reduce(self) -> float:
        """How much a second since the last `reduce`."""
        return float((self.total - self.before) / max(1e-9, time.perf_counter() - self._since_reduce))

    @property
    def throughput_since_last_restore(self) -> float:
        """How much a second since a state was taken, or the beginning."""
        return float((self.total - self._restored) / max(1e-9, time.perf_counter() - self._since_restore))

    @property
    def throughputs(self) -> dict[str, float]:
        """Both."""
        return {
            "throughput_since_last_reduce": self.throughput_since_last_reduce,
            "throughput_since_last_restore": self.throughput_since_last_restore,
        }

    def initialize_throughput_reference_time(self, time: float) -> None:
        """Count throughputs from a time on."""
        self._since_reduce = self._since_restore = time

    def _begin(self) -> None:
        self.before, self._since_reduce = self.total, time.perf_counter()

    def get_state(self) -> dict[str, Any]:
        """Return all that `set_state` takes."""
        return self._state("total", "before")

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take a state; throughputs are counted from now on."""
        super().set_state(state)
        self._restored, self._since_restore = self.total, time.perf_counter()


def _number(other: Any) -> Any:
    return other.peek() if isinstance(other, StatsBase) else other
