"""Functions that are told how a Dask graph goes, under the names that the reference gave them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import shoal


class RayCallback(NamedTuple):
    """One observer's functions, each None if it has none.

    At the driver: `ray_presubmit(task, key, deps)` before a task is submitted (what it returns, unless None, is taken
    for the result and nothing is submitted), `ray_postsubmit(task, key, deps, object_ref)` after, `ray_postsubmit_all`
    with all references and the graph, `ray_finish(result)` at the end. In the worker: `ray_pretask(key, object_refs)`
    before a task, and `ray_posttask(key, result, pre_state)` after, with what the former returned.
    """

    ray_presubmit: Callable[..., Any] | None = None
    ray_postsubmit: Callable[..., Any] | None = None
    ray_pretask: Callable[..., Any] | None = None
    ray_posttask: Callable[..., Any] | None = None
    ray_postsubmit_all: Callable[..., Any] | None = None
    ray_finish: Callable[..., Any] | None = None


class RayCallbacks(NamedTuple):
    """The functions of all observers, by kind."""

    ray_presubmit_cbs: list[Callable[..., Any]]
    ray_postsubmit_cbs: list[Callable[..., Any]]
    ray_pretask_cbs: list[Callable[..., Any]]
    ray_posttask_cbs: list[Callable[..., Any]]
    ray_postsubmit_all_cbs: list[Callable[..., Any]]
    ray_finish_cbs: list[Callable[..., Any]]


class RayDaskCallback:
    """An observer: give the constructor functions, or write a subclass with methods `_ray_presubmit` and so on.

    It is active inside `with`, or from `register()` to `unregister()`. In a worker a copy of it is told.

    Example:
        class Names(RayDaskCallback):
            def _ray_presubmit(self, task, key, deps):
                print(key)

        with Names():
            array.sum().compute(scheduler=shoal_dask_get)
    """

    active: ClassVar[set[RayCallback]] = set()

    def __init__(self, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - set(RayCallback._fields))
        if unknown:
            raise TypeError(
                f"there is no callback {', '.join(unknown)}; there are: {', '.join(RayCallback._fields)}"
            )
        for name, function in kwargs.items():
            setattr(self, f"_{name}", function)

    @property
    def _callback(self) -> RayCallback:
        return RayCallback(*(getattr(self, f"_{name}", None) for name in RayCallback._fields))

    def __enter__(self) -> RayDaskCallback:
        self.register()
        return self

    def __exit__(self, *args: object) -> None:
        self.unregister()

    def register(self) -> None:
        """Be told, from now on."""
        # Kept, since pickling may give the class new functions, which would not equal those.
        self._registered = self._callback
        type(self).active.add(self._registered)

    def unregister(self) -> None:
        """Be told no more."""
        type(self).active.discard(self.__dict__.pop("_registered", self._callback))


class ProgressBarCallback(RayDaskCallback):
    """Draws a bar of the nodes that have been computed, and keeps their times.

    `pb` is an actor: `pb.result` gives how many nodes were submitted and how many are done, `pb.report` the seconds
    that each waited ("scheduling_time") and ran ("execution_time").

    Example:
        with ProgressBarCallback() as progress:
            array.sum().compute(scheduler=shoal_dask_get)
        shoal.get(progress.pb.report.remote())
    """

    def __init__(self) -> None:
        super().__init__()
        self.pb = shoal.remote(_Progress).options(num_cpus=0).remote()

    def _ray_presubmit(self, task: Any, key: Any, deps: Any) -> None:
        self.pb.submit.remote(key, time.time())

    def _ray_pretask(self, key: Any, object_refs: Any) -> None:
        self.pb.begin.remote(key, time.time())

    def _ray_posttask(self, key: Any, result: Any, pre_state: Any) -> None:
        # Waited for, so that whoever has the graph's result finds every node counted.
        shoal.get(self.pb.end.remote(key, time.time()))


class _Progress:
    """Counts the nodes of a graph, in an actor of its own; the bar is drawn at the driver."""

    def __init__(self) -> None:
        from shoal.util.tqdm import tqdm

        self._times: dict[Any, list[float]] = {}
        self._done = 0
        self._bar = tqdm(desc="dask", total=0)

    def submit(self, key: Any, now: float) -> None:
        """A node was submitted."""
        self._at(key)[0] = now
        self._draw()

    def begin(self, key: Any, now: float) -> None:
        """A node begins to run."""
        self._at(key)[1] = now

    def end(self, key: Any, now: float) -> None:
        """A node is done."""
        self._at(key)[2] = now
        self._done += 1
        self._draw()

    def result(self) -> tuple[int, int]:
        """Return how many nodes were submitted and how many are done."""
        return len(self._times), self._done

    def report(self) -> dict[Any, dict[str, float]]:
        """Return the times of the nodes that are done, in seconds."""
        return {
            key: {"execution_time": end - begin, "scheduling_time": begin - submitted}
            for key, (submitted, begin, end) in self._times.items()
            if end
        }

    def _at(self, key: Any) -> list[float]:
        return self._times.setdefault(key, [0.0, 0.0, 0.0])

    def _draw(self) -> None:
        self._bar.total = len(self._times)
        self._bar.update(self._done - self._bar.n)


def normalize_ray_callback(cb: Any) -> RayCallback:
    """Return an observer's functions. Raises TypeError for what is no observer."""
    if isinstance(cb, RayDaskCallback):
        return cb._callback
    if isinstance(cb, RayCallback):
        return cb
    raise TypeError(f"callbacks are RayDaskCallback or RayCallback, not {type(cb).__name__}")


class add_ray_callbacks:  # noqa: N801  the reference's name
    """Let observers be told, inside `with`."""

    def __init__(self, *callbacks: Any) -> None:
        self.callbacks = [normalize_ray_callback(one) for one in callbacks]

    def __enter__(self) -> add_ray_callbacks:
        RayDaskCallback.active.update(self.callbacks)
        return self

    def __exit__(self, *args: object) -> None:
        RayDaskCallback.active.difference_update(self.callbacks)


@contextlib.contextmanager
def local_ray_callbacks(callbacks: Sequence[Any] | None = None) -> Iterator[set[RayCallback]]:
    """Hand over who is to be told; those given, and else those that are active, which a nested graph does not tell."""
    active = RayDaskCallback.active
    found = {normalize_ray_callback(one) for one in callbacks} if callbacks else set(active)
    before = set(active)
    active.clear()
    try:
        yield found
    finally:
        active.update(before)


def unpack_ray_callbacks(cbs: Any) -> RayCallbacks:
    """Return the functions of observers, by kind."""
    observers = [normalize_ray_callback(one) for one in cbs or ()]
    return RayCallbacks(
        *([getattr(one, name) for one in observers if getattr(one, name)] for name in RayCallback._fields)
    )
