"""The functions of the state API. Each looks at the session of this process and returns records of `records`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shoal.state import records
from shoal.state.client import StateApiClient
from shoal.state.records import StateResource, SummaryResource
from shoal.state.requests import Filter, GetApiOptions, ListApiOptions, SummaryApiOptions

DEFAULT_LIMIT = 100
DEFAULT_TIMEOUT = 30


def list_actors(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.ActorState]:
    """Return actors of the session.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.ACTORS, options, raise_on_missing_output)


def list_cluster_events(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.ClusterEventState]:
    """Return what came, went and restarted, and why: nodes, processes, actors, placement groups, jobs. Newest first.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.CLUSTER_EVENTS, options, raise_on_missing_output)


def list_jobs(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.JobState]:
    """Return the programs that use the cluster, or did, with what each has, may have, and waits for.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.JOBS, options, raise_on_missing_output)


def list_nodes(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.NodeState]:
    """Return nodes.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.NODES, options, raise_on_missing_output)


def list_objects(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.ObjectState]:
    """Return the objects that processes hold, one record for each process; of a dead session the large ones put.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.OBJECTS, options, raise_on_missing_output)


def list_placement_groups(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.PlacementGroupState]:
    """Return placement groups.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.PLACEMENT_GROUPS, options, raise_on_missing_output)


def list_runtime_envs(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.RuntimeEnvState]:
    """Return the environment of the calling code.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.RUNTIME_ENVS, options, raise_on_missing_output)


def list_tasks(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.TaskState]:
    """Return calls of all processes, those that are not over first, then the newest.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.TASKS, options, raise_on_missing_output)


def list_workers(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[records.WorkerState]:
    """Return drivers and workers, those that have ended as well.

    Parameters: `filters` are (column, "=" or "!=", value), `limit` is how many there may be (StateApiError if there are
    more, unless `raise_on_missing_output` is false), `detail` fills all columns.
    """
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=filters)
    return StateApiClient(address).list(StateResource.WORKERS, options, raise_on_missing_output)


def get_actor(
    id: str,  # noqa: A002
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    _explain: bool = False,
) -> records.ActorState | None:
    """Return the record with that identifier in hexadecimal, or None."""
    found: records.ActorState | None = StateApiClient(address).get(
        StateResource.ACTORS, id, GetApiOptions(timeout)
    )
    return found


def get_job(
    id: str,  # noqa: A002
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    _explain: bool = False,
) -> records.JobState | None:
    """Return the record with that identifier in hexadecimal, or None."""
    found: records.JobState | None = StateApiClient(address).get(
        StateResource.JOBS, id, GetApiOptions(timeout)
    )
    return found


def get_node(
    id: str,  # noqa: A002
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    _explain: bool = False,
) -> records.NodeState | None:
    """Return the record with that identifier in hexadecimal, or None."""
    found: records.NodeState | None = StateApiClient(address).get(
        StateResource.NODES, id, GetApiOptions(timeout)
    )
    return found


def get_objects(
    id: str,  # noqa: A002
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    _explain: bool = False,
) -> list[records.ObjectState]:
    """Return what is known of the object with that identifier in hexadecimal, one record a process."""
    found: list[records.ObjectState] = StateApiClient(address).get(
        StateResource.OBJECTS, id, GetApiOptions(timeout)
    )
    return found


def get_placement_group(
    id: str,  # noqa: A002
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    _explain: bool = False,
) -> records.PlacementGroupState | None:
    """Return the record with that identifier in hexadecimal, or None."""
    found: records.PlacementGroupState | None = StateApiClient(address).get(
        StateResource.PLACEMENT_GROUPS, id, GetApiOptions(timeout)
    )
    return found


def get_task(
    id: str,  # noqa: A002
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    _explain: bool = False,
) -> records.TaskState | None:
    """Return the record with that identifier in hexadecimal, or None."""
    found: records.TaskState | None = StateApiClient(address).get(
        StateResource.TASKS, id, GetApiOptions(timeout)
    )
    return found


def get_worker(
    id: str,  # noqa: A002
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    _explain: bool = False,
) -> records.WorkerState | None:
    """Return the record with that identifier in hexadecimal, or None."""
    found: records.WorkerState | None = StateApiClient(address).get(
        StateResource.WORKERS, id, GetApiOptions(timeout)
    )
    return found


def summarize_objects(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """Return how many there are: objects by where they were made, as plain data below "cluster"."""
    return StateApiClient(address).summary(
        SummaryResource.OBJECTS,
        options=SummaryApiOptions(timeout=timeout),
        raise_on_missing_output=raise_on_missing_output,
    )


def summarize_actors(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """Return how many there are: actors by class and state, as plain data below "cluster"."""
    return StateApiClient(address).summary(
        SummaryResource.ACTORS,
        options=SummaryApiOptions(timeout=timeout),
        raise_on_missing_output=raise_on_missing_output,
    )


def summarize_tasks(
    address: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """Return how many there are: calls by function and state, as plain data below "cluster"."""
    return StateApiClient(address).summary(
        SummaryResource.TASKS,
        options=SummaryApiOptions(timeout=timeout),
        raise_on_missing_output=raise_on_missing_output,
    )
