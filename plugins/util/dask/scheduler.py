"""A Dask scheduler: each node of a graph is a task, and what it needs are the references of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import shoal
from shoal import ObjectRef
from shoal.util.dask.callbacks import RayCallbacks, local_ray_callbacks, unpack_ray_callbacks

_before: list[Any] = []  # Dask's settings before enable_dask()


def shoal_dask_get(dsk: Mapping[Any, Any], keys: Any, **kwargs: Any) -> Any:
    """Compute a graph's keys as tasks. Give it to Dask as `scheduler=shoal_dask_get`.

    Parameters: `dsk` is the graph, `keys` a key or nested lists of them. `num_returns`-like options of tasks are given
    as `remote_args={"num_cpus": 2}` (or `ray_remote_args`), observers as `ray_callbacks`; with `ray_persist=True` the
    references are returned instead of the values, which stay where they are.
    """
    with local_ray_callbacks(kwargs.pop("ray_callbacks", None)) as observers:
        told = unpack_ray_callbacks(observers)
        options = kwargs.pop("remote_args", None) or kwargs.pop("ray_remote_args", None) or {}
        refs = _submit(dsk, told, dict(options))
        for tell in told.ray_postsubmit_all_cbs:
            tell([ref for ref in refs.values() if isinstance(ref, ObjectRef)], dsk)
        wanted = _pick(keys, refs)
        result = wanted if kwargs.pop("ray_persist", False) else _values(wanted)
        for tell in told.ray_finish_cbs:
            tell(result)
        return result


def shoal_dask_get_sync(dsk: Mapping[Any, Any], keys: Any, **kwargs: Any) -> Any:
    """Compute a graph in this process, one node after the other: for finding faults."""
    from dask.local import get_sync

    return get_sync(dsk, keys, **kwargs)


def shoal_dask_persist(*args: Any, **kwargs: Any) -> Any:
    """Compute collections and return them with their parts left in the object store, as `dask.persist` does."""
    import dask

    return dask.persist(*args, scheduler=_get_as_tasks, **kwargs)


def _get_as_tasks(dsk: Mapping[Any, Any], keys: Any, **kwargs: Any) -> Any:
    """Return, for each key, the task that fetches its value: Dask may move that into another node."""

    def wrap(item: Any) -> Any:
        if isinstance(item, list):
            return [wrap(one) for one in item]
        return (_fetch, item) if isinstance(item, ObjectRef) else item

    return wrap(shoal_dask_get(dsk, keys, **{**kwargs, "ray_persist": True}))


def _fetch(ref: ObjectRef[Any]) -> Any:
    return shoal.get(ref)


def enable_dask(shuffle: str | None = "tasks", use_shuffle_optimization: bool | None = None) -> Any:
    """Make Shoal Dask's scheduler in this process; returns a context manager that undoes it at its end.

    `shuffle` is how Dask moves rows between partitions: "tasks" or "disk". Raises ValueError for
    `use_shuffle_optimization=True`, which is not here yet.
    """
    import dask

    if use_shuffle_optimization:
        raise ValueError("use_shuffle_optimization is not in Shoal yet: leave it out")
    if shuffle not in (None, "tasks", "disk"):
        raise ValueError(f"shuffle must be 'tasks', 'disk' or None, not {shuffle!r}")
    settings: dict[str, Any] = {"scheduler": shoal_dask_get}
    if shuffle is not None:
        settings["dataframe.shuffle.method"] = shuffle
    context = dask.config.set(settings)
    _before.append(context)
    return context


def disable_dask() -> None:
    """Undo the last `enable_dask()`."""
    if _before:
        _before.pop().__exit__(None, None, None)


@shoal.remote
def _run(node: Any, names: Sequence[Any], told: RayCallbacks, *values: Any) -> Any:
    """One node of a graph, in a worker. `told` has only the functions that are for workers."""
    states = [tell(node.key, list(values)) for tell in told.ray_pretask_cbs]
    result = node(dict(zip(names, values, strict=True)))
    for index, tell in enumerate(told.ray_posttask_cbs):
        tell(node.key, result, states[index] if index < len(states) else None)
    return result


def _submit(dsk: Mapping[Any, Any], told: RayCallbacks, options: dict[str, Any]) -> dict[Any, Any]:
    """Submit every node, each after those that it needs; return references, or values that are data already."""
    from dask._task_spec import Alias, DataNode, DependenciesMapping, convert_legacy_graph
    from dask.core import toposort

    # Newer versions hand over an expression that makes the graph.
    plain = dsk.__dask_graph__() if hasattr(dsk, "__dask_graph__") else dsk
    graph: dict[Any, Any] = convert_legacy_graph(dict(plain))
    in_worker = RayCallbacks([], [], told.ray_pretask_cbs, told.ray_posttask_cbs, [], [])
    task = _run.options(**options)
    made: dict[Any, Any] = {}
    for key in toposort(graph, dependencies=DependenciesMapping(graph)):
        node = graph[key]
        needs = sorted(node.dependencies, key=str)
        if isinstance(node, DataNode):
            made[key] = node.value
        elif isinstance(node, Alias):
            made[key] = made[node.target]
        else:
            made[key] = _submit_one(task, node, key, needs, made, told, in_worker)
    return made


def _submit_one(
    task: Any,
    node: Any,
    key: Any,
    needs: list[Any],
    made: dict[Any, Any],
    told: RayCallbacks,
    in_worker: RayCallbacks,
) -> Any:
    for tell in told.ray_presubmit_cbs:
        instead = tell(node, key, needs)
        if instead is not None:
            return instead
    name = key[0] if isinstance(key, tuple) else key
    ref = task.options(name=f"dask:{name}").remote(node, needs, in_worker, *(made[need] for need in needs))
    for tell in told.ray_postsubmit_cbs:
        tell(node, key, needs, ref)
    return ref


def _pick(keys: Any, made: Mapping[Any, Any]) -> Any:
    return [_pick(key, made) for key in keys] if isinstance(keys, list) else made[keys]


def _values(wanted: Any) -> Any:
    """Fetch all references at once, in the shape that they are asked for."""
    flat: list[ObjectRef[Any]] = []

    def note(item: Any) -> None:
        for one in item if isinstance(item, list) else [item]:
            if isinstance(one, list):
                note(one)
            elif isinstance(one, ObjectRef):
                flat.append(one)

    note(wanted)
    found = dict(zip(flat, shoal.get(flat), strict=True))

    def fill(item: Any) -> Any:
        if isinstance(item, list):
            return [fill(one) for one in item]
        return found[item] if isinstance(item, ObjectRef) else item

    return fill(wanted)
