"""Numbers about a program, counted in all of its processes and read in one place.

Each process keeps its own numbers and hands them over about once a second, through the session's key-value store;
`collect()` adds them up, `prometheus_text()` writes them the way Prometheus reads them.
"""

from __future__ import annotations

import atexit
import bisect
import json
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import ShoalError, describe
from shoal.interfaces.current import current

_NAMESPACE = "metrics"
_SECONDS = 1.0  # between two times that a process hands its numbers over
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Tags = tuple[tuple[str, str], ...]


@attrs.frozen
class Sample:
    """One number: of a metric, for one set of tags. A histogram has `buckets` (upper bound to count), sum and count."""

    name: str
    kind: str  # "counter", "gauge" or "histogram"
    tags: Mapping[str, str]
    value: float  # of a histogram: the sum
    description: str = ""
    count: int = 0
    buckets: Mapping[float, int] = attrs.field(factory=dict)


class _Registry:
    """The metrics of this process, and the thread that hands their numbers over."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.metrics: dict[str, Metric] = {}
        self.changed = False
        self.thread: threading.Thread | None = None
        self.process = 0

    def touch(self) -> None:
        """Something was counted: hand it over soon. Called under the lock."""
        import os

        if self.thread is None or self.process != os.getpid():
            self.process = os.getpid()
            self.thread = threading.Thread(target=self._run, name="shoal-metrics", daemon=True)
            self.thread.start()
        self.changed = True

    def _run(self) -> None:
        while True:
            time.sleep(_SECONDS)
            flush()

    def forget_in_child(self) -> None:
        self.lock = threading.Lock()
        self.thread = None
        for metric in self.metrics.values():
            metric.clear()


_registry = _Registry()


class Metric:
    """A named number. Use Counter, Gauge or Histogram.

    Parameters: `name` has letters, digits and underscores; `tag_keys` are the tags that each number may carry. Two of
    the same name in a process share their numbers. Raises ValueError for a wrong name or a name that is in use for
    another kind, TypeError for tags that are not text.
    """

    kind: ClassVar[str] = ""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        if not _NAME.fullmatch(str(name)):
            raise ValueError(f"a metric's name has letters, digits and underscores, not {describe(name)}")
        keys = tuple(tag_keys or ())
        if isinstance(tag_keys, str) or not all(isinstance(key, str) for key in keys):
            raise TypeError(f"tag_keys must be a tuple of text, not {describe(tag_keys)}")
        if not self.kind:
            raise TypeError("Metric has no numbers of its own: use Counter, Gauge or Histogram")
        self._name = name
        self._description = description
        self._keys = keys
        self._default: dict[str, str] = {}
        self._values: dict[Tags, Any] = {}
        with _registry.lock:
            same = _registry.metrics.setdefault(name, self)
            if same is not self:
                if same.kind != self.kind:
                    raise ValueError(f"there is a {same.kind} named {name!r} already")
                self._values = same._values

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tag keys and default tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._keys,
            "default_tags": dict(self._default),
        }

    def set_default_tags(self, default_tags: Mapping[str, str]) -> Metric:
        """Give tags that hold unless a call says otherwise. Raises ValueError for a key that is not in tag_keys."""
        self._default = dict(self._checked(default_tags))
        return self

    def clear(self) -> None:
        """Forget the numbers of this process."""
        self._values.clear()

    def _checked(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        for key, value in tags.items():
            if key not in self._keys:
                raise ValueError(
                    f"metric {self._name} has no tag {key!r}; tag_keys: {', '.join(self._keys) or 'none'}"
                )
            if not isinstance(value, str):
                raise TypeError(f"tag {key!r} must be text, not {describe(value)}")
        return tags

    def _tags(self, tags: Mapping[str, str] | None) -> Tags:
        joined = {**self._default, **self._checked(tags or {})}
        missing = [key for key in self._keys if key not in joined]
        if missing:
            raise ValueError(f"metric {self._name} needs the tags {', '.join(missing)}")
        return tuple(sorted(joined.items()))

    def _add(self, tags: Tags, value: float) -> None:
        raise NotImplementedError

    def _count(self, value: float, tags: Mapping[str, str] | None) -> None:
        if not _is_number(value):
            raise TypeError(f"metric {self._name} counts numbers, not {describe(value)}")
        key = self._tags(tags)
        with _registry.lock:
            self._add(key, value)
            _registry.touch()

    def _samples(self) -> Iterable[Sample]:
        for tags, value in self._values.items():
            yield Sample(self._name, self.kind, dict(tags), value, self._description)


class Counter(Metric):
    """A number that only grows, such as requests served. Those of all processes are added up.

    Example: `Counter("requests", tag_keys=("route",)).inc(tags={"route": "/"})`
    """

    kind: ClassVar[str] = "counter"

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add `value`. Raises ValueError unless it is above 0."""
        if _is_number(value) and value <= 0:
            raise ValueError(f"a counter only grows: value must be above 0, not {value}")
        self._count(value, tags)

    def _add(self, tags: Tags, value: float) -> None:
        self._values[tags] = self._values.get(tags, 0.0) + value


class Gauge(Metric):
    """A number that goes up and down, such as the length of a queue. Each process has its own.

    Example: `Gauge("queue_length").set(3)`
    """

    kind: ClassVar[str] = "gauge"

    def set(self, value: float | None, tags: Mapping[str, str] | None = None) -> None:
        """Set the number; None does nothing."""
        if value is not None:
            self._count(value, tags)

    def _add(self, tags: Tags, value: float) -> None:
        self._values[tags] = float(value)


class Histogram(Metric):
    """How numbers are spread, such as durations: how many are up to each of `boundaries`, which ascend and are above 0.

    Example: `Histogram("seconds", boundaries=[0.1, 1, 10]).observe(0.3)`
    """

    kind: ClassVar[str] = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        bounds = list(boundaries or ())
        good = all(_is_number(bound) and bound > 0 for bound in bounds)
        if not bounds or not good or sorted(set(bounds)) != bounds:
            raise ValueError(f"boundaries must be ascending numbers above 0, not {describe(boundaries)}")
        self._bounds = [float(bound) for bound in bounds]
        super().__init__(name, description, tag_keys)

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tag keys, default tags and boundaries."""
        return {**super().info, "boundaries": list(self._bounds)}

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count one number."""
        self._count(value, tags)

    def observe_many(self, values: Sequence[float], tags: Mapping[str, str] | None = None) -> None:
        """Count several numbers, for less than one by one.

        Example: `latency.observe_many([0.2, 0.4])`
        """
        if not all(map(_is_number, values)):
            raise TypeError(f"metric {self._name} counts numbers, not {describe(values)}")
        key = self._tags(tags)
        with _registry.lock:
            for value in values:
                self._add(key, value)
            _registry.touch()

    def _add(self, tags: Tags, value: float) -> None:
        counts, total = self._values.get(tags) or ([0] * (len(self._bounds) + 1), 0.0)
        counts[bisect.bisect_left(self._bounds, value)] += 1
        self._values[tags] = (counts, total + value)

    def _samples(self) -> Iterable[Sample]:
        for tags, (counts, total) in self._values.items():
            buckets = dict(zip([*self._bounds, float("inf")], counts, strict=True))
            yield Sample(self._name, self.kind, dict(tags), total, self._description, sum(counts), buckets)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def flush() -> None:
    """Hand this process's numbers over now; without a session, or with nothing new, do nothing."""
    engine = current.engine
    with _registry.lock:
        if engine is None or engine.closed or not _registry.changed:
            return
        samples = [_to_wire(sample) for metric in _registry.metrics.values() for sample in metric._samples()]
        _registry.changed = False
    try:
        key = engine.context().worker_id.hex().encode()
        engine.kv_put(key, json.dumps(samples).encode(), True, _NAMESPACE)
    except ShoalError:  # the session ended meanwhile
        return


def collect() -> list[Sample]:
    """Return the numbers of all processes of the session, those of processes that have ended included.

    Counters and histograms are added up over processes; a gauge is given once for each, with the tag `worker`.
    Numbers of other processes are up to about a second old.
    """
    flush()
    engine = current.engine
    if engine is None:
        return []
    added: dict[Any, Sample] = {}
    for key in engine.kv_keys(b"", _NAMESPACE):
        for sample in map(_from_wire, json.loads(engine.kv_get(key, _NAMESPACE) or b"[]")):
            if sample.kind == "gauge":
                sample = attrs.evolve(sample, tags={**sample.tags, "worker": key.decode()})
            place = (sample.name, tuple(sorted(sample.tags.items())))
            before = added.get(place)
            added[place] = sample if before is None else _sum(before, sample)
    return sorted(added.values(), key=lambda one: (one.name, sorted(one.tags.items())))


def prometheus_text() -> str:
    """Return the numbers of all processes in Prometheus' text format."""
    lines: list[str] = []
    last = ""
    for sample in collect():
        if sample.name != last:
            last = sample.name
            text = sample.description.replace("\\", "\\\\").replace("\n", "\\n")
            lines += [f"# HELP {sample.name} {text}", f"# TYPE {sample.name} {sample.kind}"]
        if sample.kind != "histogram":
            lines.append(f"{sample.name}{_labels(sample.tags)} {sample.value:g}")
            continue
        below = 0
        for bound, count in sample.buckets.items():
            below += count
            shown = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f"{sample.name}_bucket{_labels({**sample.tags, 'le': shown})} {below}")
        lines.append(f"{sample.name}_sum{_labels(sample.tags)} {sample.value:g}")
        lines.append(f"{sample.name}_count{_labels(sample.tags)} {sample.count}")
    return "\n".join(lines) + "\n" if lines else ""


def _labels(tags: Mapping[str, str]) -> str:
    if not tags:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in tags.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _sum(one: Sample, other: Sample) -> Sample:
    buckets = dict(one.buckets)
    for bound, count in other.buckets.items():
        buckets[bound] = buckets.get(bound, 0) + count
    return attrs.evolve(
        one,
        value=one.value + other.value,
        count=one.count + other.count,
        buckets=dict(sorted(buckets.items())),
        description=one.description or other.description,
    )


def _to_wire(sample: Sample) -> list[Any]:
    return [
        sample.name,
        sample.kind,
        dict(sample.tags),
        sample.value,
        sample.description,
        sample.count,
        list(sample.buckets.items()),
    ]


def _from_wire(fields: list[Any]) -> Sample:
    name, kind, tags, value, description, count, buckets = fields
    return Sample(name, kind, tags, value, description, count, {float(bound): n for bound, n in buckets})


def _in_child() -> None:
    _registry.forget_in_child()


def _watch() -> None:
    import os

    atexit.register(flush)
    os.register_at_fork(after_in_child=_in_child)


_watch()
