"""The records of the state API. A column that this session does not know is None."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any

import attrs

from shoal.state.schema import Humanify, StateSchema, state_column

__all__ = [
    "ActorState",
    "ClusterEventState",
    "Humanify",
    "JobState",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "RuntimeEnvState",
    "StateResource",
    "StateSchema",
    "SummaryResource",
    "TaskState",
    "WorkerState",
    "dict_to_state",
    "filter_fields",
    "remove_ansi_escape_codes",
    "resource_to_schema",
    "state",
    "state_column",
]

_timestamp = Humanify.timestamp


class StateResource(enum.Enum):
    """What there are lists of."""

    ACTORS = "actors"
    CLUSTER_EVENTS = "cluster_events"
    JOBS = "jobs"
    NODES = "nodes"
    OBJECTS = "objects"
    PLACEMENT_GROUPS = "placement_groups"
    RUNTIME_ENVS = "runtime_envs"
    TASKS = "tasks"
    WORKERS = "workers"


class SummaryResource(enum.Enum):
    """What there are summaries of."""

    ACTORS = "actors"
    OBJECTS = "objects"
    TASKS = "tasks"


@attrs.define
class ActorState(StateSchema):
    """One actor. `state` is PENDING, ALIVE, RESTARTING or DEAD."""

    actor_id: str = state_column(filterable=True)
    class_name: str = state_column(filterable=True)
    state: str = state_column(filterable=True)
    job_id: str = state_column(filterable=True)
    name: str | None = state_column(filterable=True)
    node_id: str | None = state_column(filterable=True)
    pid: int | None = state_column(filterable=True)
    ray_namespace: str | None = state_column(filterable=True)
    serialized_runtime_env: str | None = state_column(filterable=False, detail=True)
    required_resources: dict[str, float] | None = state_column(filterable=False, detail=True)
    death_cause: dict[str, Any] | None = state_column(filterable=False, detail=True)
    is_detached: bool | None = state_column(filterable=False, detail=True)
    placement_group_id: str | None = state_column(filterable=True, detail=True)
    repr_name: str | None = state_column(filterable=True, detail=True)
    num_restarts: int | None = state_column(filterable=False, detail=True)
    num_restarts_due_to_lineage_reconstruction: int | None = state_column(filterable=False, detail=True)
    num_restarts_due_to_node_preemption: int | None = state_column(filterable=False, detail=True)
    call_site: str | None = state_column(filterable=False, detail=True)
    label_selector: dict[str, str] | None = state_column(filterable=False, detail=True)
    fallback_strategy: list[dict[str, Any]] | None = state_column(filterable=False, detail=True)


@attrs.define
class TaskState(StateSchema):
    """One attempt of a call: of a task (NORMAL_TASK) or an actor (ACTOR_TASK).

    `state` is FINISHED or FAILED once it is over; before that PENDING_ARGS_AVAIL, PENDING_NODE_ASSIGNMENT,
    PENDING_ACTOR_TASK_ARGS_FETCH, SUBMITTED_TO_WORKER or RUNNING.
    """

    task_id: str = state_column(filterable=True)
    attempt_number: int = state_column(filterable=True)
    name: str = state_column(filterable=True)
    state: str = state_column(filterable=True)
    job_id: str = state_column(filterable=True)
    actor_id: str | None = state_column(filterable=True)
    type: str = state_column(filterable=True)
    func_or_class_name: str = state_column(filterable=True)
    parent_task_id: str | None = state_column(filterable=True)
    node_id: str | None = state_column(filterable=True)
    worker_id: str | None = state_column(filterable=True)
    worker_pid: int | None = state_column(filterable=True)
    error_type: str | None = state_column(filterable=True)
    language: str | None = state_column(filterable=True, detail=True)
    required_resources: dict[str, float] | None = state_column(filterable=False, detail=True)
    runtime_env_info: dict[str, Any] | None = state_column(filterable=False, detail=True)
    placement_group_id: str | None = state_column(filterable=True, detail=True)
    events: list[dict[str, Any]] | None = state_column(
        filterable=False, detail=True, format_fn=Humanify.events
    )
    profiling_data: dict[str, Any] | None = state_column(filterable=False, detail=True)
    creation_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    start_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    end_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    task_log_info: dict[str, Any] | None = state_column(filterable=False, detail=True)
    error_message: str | None = state_column(filterable=False, detail=True)
    is_debugger_paused: bool | None = state_column(filterable=True, detail=True)
    call_site: str | None = state_column(filterable=False, detail=True)
    label_selector: dict[str, str] | None = state_column(filterable=False, detail=True)
    fallback_strategy: list[dict[str, Any]] | None = state_column(filterable=False, detail=True)


@attrs.define
class NodeState(StateSchema):
    """One node. `state` is ALIVE, DRAINING or DEAD."""

    node_id: str = state_column(filterable=True)
    node_ip: str = state_column(filterable=True)
    is_head_node: bool | None = state_column(filterable=True)
    state: str = state_column(filterable=True)
    state_message: str | None = state_column(filterable=False)
    node_name: str = state_column(filterable=True)
    resources_total: dict[str, float] = state_column(filterable=False, format_fn=Humanify.node_resources)
    labels: dict[str, str] = state_column(filterable=False)
    start_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    end_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)


@attrs.define
class WorkerState(StateSchema):
    """One process: a driver or a worker."""

    worker_id: str = state_column(filterable=True)
    is_alive: bool | None = state_column(filterable=True)
    worker_type: str = state_column(filterable=True)
    exit_type: str | None = state_column(filterable=True)
    node_id: str = state_column(filterable=True)
    ip: str | None = state_column(filterable=True)
    pid: int | None = state_column(filterable=True)
    exit_detail: str | None = state_column(filterable=False, detail=True)
    worker_launch_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    worker_launched_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    start_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    end_time_ms: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    debugger_port: int | None = state_column(filterable=True, detail=True)
    num_paused_threads: int | None = state_column(filterable=True, detail=True)


@attrs.define
class PlacementGroupState(StateSchema):
    """One placement group. `state` is PENDING, CREATED, RESCHEDULING or REMOVED."""

    placement_group_id: str = state_column(filterable=True)
    name: str = state_column(filterable=True)
    creator_job_id: str | None = state_column(filterable=True)
    state: str = state_column(filterable=True)
    bundles: list[dict[str, Any]] | None = state_column(filterable=False, detail=True)
    is_detached: bool | None = state_column(filterable=True, detail=True)
    stats: dict[str, Any] | None = state_column(filterable=False, detail=True)
    topology_strategy: dict[str, str] | None = state_column(filterable=False, detail=True)
    topology_assignments: dict[str, Any] | None = state_column(filterable=False, detail=True)


@attrs.define
class JobState(StateSchema):
    """One program."""

    type: str = state_column(filterable=True)
    job_id: str | None = state_column(filterable=True)
    submission_id: str | None = state_column(filterable=True)
    driver_info: dict[str, Any] | None = state_column(filterable=False)
    status: str = state_column(filterable=True)
    entrypoint: str = state_column(filterable=False)
    message: str | None = state_column(filterable=False)
    error_type: str | None = state_column(filterable=False)
    start_time: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    end_time: int | None = state_column(filterable=False, detail=True, format_fn=_timestamp)
    metadata: dict[str, str] | None = state_column(filterable=False, detail=True)
    runtime_env: dict[str, Any] | None = state_column(filterable=False, detail=True)
    driver_agent_http_address: str | None = state_column(filterable=False, detail=True)
    driver_node_id: str | None = state_column(filterable=False, detail=True)
    driver_exit_code: int | None = state_column(filterable=False, detail=True)
    name: str | None = state_column(filterable=True)
    priority: int | None = state_column(filterable=True)
    share: float | None = state_column(filterable=False)
    quota: dict[str, float] | None = state_column(filterable=False)
    used: dict[str, float] | None = state_column(filterable=False)
    waiting: int | None = state_column(filterable=False)
    preempted: int | None = state_column(filterable=False, detail=True)

    @classmethod
    def schema_dict(cls) -> dict[str, str]:
        """Return the type of each column, in words."""
        return {field.name: str(field.type) for field in attrs.fields(cls)}


@attrs.define
class ObjectState(StateSchema):
    """One object."""

    object_id: str = state_column(filterable=True)
    object_size: int | None = state_column(filterable=True, format_fn=Humanify.memory)
    task_status: str | None = state_column(filterable=True)
    attempt_number: int | None = state_column(filterable=True)
    reference_type: str | None = state_column(filterable=True)
    call_site: str | None = state_column(filterable=True)
    type: str | None = state_column(filterable=True)
    pid: int | None = state_column(filterable=True)
    ip: str | None = state_column(filterable=True)


@attrs.define
class RuntimeEnvState(StateSchema):
    """One environment of workers."""

    runtime_env: dict[str, Any] = state_column(filterable=True)
    success: bool | None = state_column(filterable=True)
    creation_time_ms: int | None = state_column(filterable=False, format_fn=_timestamp)
    node_id: str = state_column(filterable=True)
    ref_cnt: int | None = state_column(filterable=False, detail=True)
    error: str | None = state_column(filterable=True, detail=True)


state = RuntimeEnvState  # the reference leaves this name behind in its module


@attrs.define
class ClusterEventState(StateSchema):
    """Something that happened to the cluster."""

    severity: str = state_column(filterable=True)
    time: str | None = state_column(filterable=False)
    source_type: str = state_column(filterable=True)
    message: str = state_column(filterable=False)
    event_id: str = state_column(filterable=True)
    custom_fields: dict[str, Any] | None = state_column(filterable=False, detail=True)


_SCHEMAS: dict[StateResource, type[StateSchema]] = {
    StateResource.ACTORS: ActorState,
    StateResource.CLUSTER_EVENTS: ClusterEventState,
    StateResource.JOBS: JobState,
    StateResource.NODES: NodeState,
    StateResource.OBJECTS: ObjectState,
    StateResource.PLACEMENT_GROUPS: PlacementGroupState,
    StateResource.RUNTIME_ENVS: RuntimeEnvState,
    StateResource.TASKS: TaskState,
    StateResource.WORKERS: WorkerState,
}


def resource_to_schema(resource: StateResource) -> type[StateSchema]:
    """Return the class of the records of a resource."""
    return _SCHEMAS[StateResource(resource)]


def dict_to_state(d: Mapping[str, Any], state_resource: StateResource) -> StateSchema:
    """Make a record of a mapping. Raises TypeError for a name that is no column."""
    return resource_to_schema(state_resource)(**d)


def filter_fields(
    data: Mapping[str, Any], state_dataclass: type[StateSchema], detail: bool
) -> dict[str, Any]:
    """Return the columns of a mapping that a list has; None for those that it lacks."""
    return {name: data.get(name) for name in state_dataclass.list_columns(detail)}


def remove_ansi_escape_codes(text: str) -> str:
    """Return text without the codes that colour it."""
    return re.sub(r"\x1b[^m]*m", "", text)
