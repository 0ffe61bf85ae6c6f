"""Where the records come from: what the engine of this process says, as of now."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from shoal.interfaces.current import current
from shoal.interfaces.engine import Engine, SupportsJobs
from shoal.interfaces.refs import ObjectRef
from shoal.state import records
from shoal.state.failures import ServerUnavailable, StateApiError
from shoal.state.records import StateResource, StateSchema


def engine_of_session() -> Engine:
    """Return the engine. Raises ServerUnavailable if there is no session: looking does not start one."""
    engine = current.engine
    if engine is None or engine.closed:
        raise ServerUnavailable("there is no session to look at: call init() first")
    return engine


def all_records(resource: StateResource) -> Iterator[StateSchema]:
    """Yield every record of a resource. Raises StateApiError for those that are not kept."""
    source = _SOURCES.get(resource)
    if source is None:
        raise StateApiError(f"a list of {resource.value} is not kept yet; there are: {', '.join(known())}")
    return source(engine_of_session())


def known() -> list[str]:
    """Return the names of the resources that there are lists of."""
    return sorted(resource.value for resource in _SOURCES)


def _actors(engine: Engine) -> Iterator[records.ActorState]:
    job = engine.context().job_id.hex()
    for info in engine.actors():
        yield records.ActorState(
            actor_id=info.actor_id.hex(),
            class_name=info.class_name,
            state=info.state,
            job_id=job,
            name=info.name,
            ray_namespace=info.namespace,
            is_detached=info.detached,
        )


def _nodes(engine: Engine) -> Iterator[records.NodeState]:
    for node in engine.view().nodes.values():
        yield records.NodeState(
            node_id=node.node_id.hex(),
            node_ip=node.address,
            state="DEAD" if not node.alive else "DRAINING" if node.draining else "ALIVE",
            node_name=node.address,
            resources_total=node.total.to_floats(),
            labels=dict(node.labels),
        )


def _groups(engine: Engine) -> Iterator[records.PlacementGroupState]:
    for group in engine.groups():
        named = group["group_id"]
        yield records.PlacementGroupState(
            placement_group_id=named if isinstance(named, str) else bytes(named).hex(),
            name=group["name"],
            state=group["state"],
            bundles=[
                {
                    "bundle_index": index,
                    "unit_resources": dict(bundle),
                    "node_id": group["bundle_nodes"].get(index),
                }
                for index, bundle in sorted(group["bundles"].items())
            ],
        )


def _tasks(engine: Engine) -> Iterator[records.TaskState]:
    job = engine.context().job_id.hex()
    for event in engine.timeline():
        facts = event.get("args", {})
        is_call = event.get("cat") == "actor"
        yield records.TaskState(
            task_id=facts.get("task_id"),
            attempt_number=facts.get("attempt", 0),
            name=event["name"],
            state="FAILED" if facts.get("failed") else "FINISHED",
            job_id=job,
            actor_id=facts.get("actor_id"),
            type="ACTOR_TASK" if is_call else "NORMAL_TASK",
            func_or_class_name=event["name"],
            node_id=str(event.get("pid", "")),
            worker_id=str(event.get("tid", "")),
            language="PYTHON",
            start_time_ms=int(event["ts"] / 1000),
            end_time_ms=int((event["ts"] + event["dur"]) / 1000),
        )


def _workers(engine: Engine) -> Iterator[records.WorkerState]:
    here = engine.context()
    kind = "DRIVER" if here.is_driver else "WORKER"
    yield records.WorkerState(
        worker_id=here.worker_id.hex(),
        is_alive=True,
        worker_type=kind,
        node_id=here.node_id.hex(),
        pid=os.getpid(),
    )
    seen = {here.worker_id.hex()}
    for event in engine.timeline():
        worker = str(event.get("tid", ""))
        if worker and worker not in seen:
            seen.add(worker)
            yield records.WorkerState(
                worker_id=worker, worker_type="WORKER", node_id=str(event.get("pid", ""))
            )


_STATUS = {"RUNNING": "RUNNING", "FINISHED": "SUCCEEDED", "DIED": "FAILED"}  # in the reference's words


def _jobs(engine: Engine) -> Iterator[records.JobState]:
    if isinstance(engine, SupportsJobs):
        for job in engine.jobs():
            yield records.JobState(
                type="DRIVER",
                job_id=job["job"].hex(),
                status=_STATUS[job["state"]],
                entrypoint=job["entrypoint"],
                message=job["message"] or None,
                start_time=int(job["started"] * 1_000),
                end_time=int(job["ended"] * 1_000) or None,
                driver_info={"pid": job["pid"], "node": job["node"]},
                driver_node_id=job["node"],
                name=job["name"] or None,
                priority=job["priority"],
                share=job["share"],
                quota=dict(job["quota"]),
                used=dict(job["used"]),
                waiting=job["waiting"],
                preempted=job["preempted"],
            )
        return
    here = engine.context()
    yield records.JobState(
        type="DRIVER",
        job_id=here.job_id.hex(),
        status="RUNNING",
        entrypoint=" ".join(sys.argv),
        driver_node_id=here.node_id.hex(),
        driver_info={"pid": os.getpid(), "node": socket.gethostname()} if here.is_driver else None,
        runtime_env=dict(here.runtime_env),
    )


def _environments(engine: Engine) -> Iterator[records.RuntimeEnvState]:
    here = engine.context()
    if here.runtime_env:
        yield records.RuntimeEnvState(
            runtime_env=dict(here.runtime_env), success=True, node_id=here.node_id.hex()
        )


def _objects(engine: Engine) -> Iterator[records.ObjectState]:
    """What this process has references to: objects are counted by who holds them, and nobody has a list of all."""
    held: dict[bytes, list[ObjectRef[Any]]] = {}
    for one in gc.get_objects():
        if type(one) is ObjectRef and getattr(one, "engine", None) is engine:
            held.setdefault(one.binary(), []).append(one)
    for object_id, refs in held.items():
        ready, _ = engine.wait(refs[:1], 1, 0, False)
        yield records.ObjectState(
            object_id=object_id.hex(),
            task_status="FINISHED" if ready else "PENDING",
            reference_type="LOCAL_REFERENCE",
            type="DRIVER" if engine.context().is_driver else "WORKER",
            pid=os.getpid(),
        )


_SOURCES: dict[StateResource, Callable[[Engine], Iterator[Any]]] = {
    StateResource.ACTORS: _actors,
    StateResource.JOBS: _jobs,
    StateResource.NODES: _nodes,
    StateResource.OBJECTS: _objects,
    StateResource.PLACEMENT_GROUPS: _groups,
    StateResource.RUNTIME_ENVS: _environments,
    StateResource.TASKS: _tasks,
    StateResource.WORKERS: _workers,
}
