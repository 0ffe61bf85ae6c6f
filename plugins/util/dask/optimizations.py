"""Making a Dask graph smaller before it is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dataframe_optimize(dsk: Mapping[Any, Any], keys: Any, **kwargs: Any) -> dict[Any, Any]:
    """Return the graph without what the keys do not need, and with chains of nodes made one task each.

    Dask's newer collections do this by themselves; it is for graphs that a program has made. Raises TypeError for
    options that there are not: none.

    Example: `shoal_dask_get(dataframe_optimize(graph, ["result"]), ["result"])`
    """
    from dask._task_spec import convert_legacy_graph, cull, fuse_linear_task_spec
    from dask.core import flatten

    if kwargs:
        raise TypeError(f"dataframe_optimize() has no options, so not {', '.join(sorted(kwargs))}")
    wanted = set(flatten(keys if isinstance(keys, list) else [keys]))
    plain = dsk.__dask_graph__() if hasattr(dsk, "__dask_graph__") else dsk
    graph = cull(convert_legacy_graph(dict(plain)), wanted)
    return dict(fuse_linear_task_spec(graph, wanted))
