"""Where the calling code runs."""

from __future__ import annotations

import json
from typing import Any

from shoal.api.handle import ActorHandle
from shoal.api.session import engine_or_start
from shoal.ids import ActorID, JobID, NodeID, PlacementGroupID, TaskID
from shoal.spec.calls import ExecutionContext


class RuntimeContext:
    """What the calling driver, task or actor can know of its place. Each question is answered as of now."""

    __slots__ = ()

    @property
    def _now(self) -> ExecutionContext:
        return engine_or_start().context()

    def get_job_id(self) -> str:
        """Return the program's identifier in hexadecimal."""
        return self._now.job_id.hex()

    def get_node_id(self) -> str:
        """Return this node's identifier in hexadecimal."""
        return self._now.node_id.hex()

    def get_worker_id(self) -> str:
        """Return this process's identifier in hexadecimal."""
        return self._now.worker_id.hex()

    def get_task_id(self) -> str | None:
        """Return the running task's identifier in hexadecimal; None in a driver."""
        return self._now.task_id.hex() or None

    def get_task_name(self) -> str | None:
        """Return the running task's name: the option `name` or the function's; None in a driver."""
        return self._now.task_name or None

    def get_task_function_name(self) -> str | None:
        """Return the name of the function or method that runs; None in a driver."""
        return self._now.function_name or None

    def get_actor_id(self) -> str | None:
        """Return the actor's identifier in hexadecimal; None outside an actor."""
        return self._now.actor_id.hex() or None

    def get_actor_name(self) -> str | None:
        """Return the actor's name, "" if it has none; None outside an actor."""
        now = self._now
        return now.actor_name if now.actor_id else None

    def get_assigned_resources(self) -> dict[str, float]:
        """Return what the running task or actor holds."""
        return dict(self._now.resources)

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Return the identifiers of the devices that it may use, by resource."""
        return {name: list(ids) for name, ids in self._now.accelerator_ids.items()}

    def get_placement_group_id(self) -> str | None:
        """Return the identifier of the placement group that it runs in, in hexadecimal, or None."""
        return self._now.group_id.hex() or None

    def get_runtime_env_string(self) -> str:
        """Return the environment it runs in as JSON."""
        return json.dumps(dict(self._now.runtime_env), sort_keys=True, default=str)

    def get_session_name(self) -> str:
        """Return the session's name."""
        return self._now.session_name

    def get_temp_dir(self) -> str:
        """Return the session's folder."""
        return self._now.session_folder

    def get_shared_folder(self) -> str:
        """Return a folder in memory for files that processes of this node map together; it goes with the session.

        "" where there is none: on an engine without processes.
        """
        return self._now.shared_folder

    def get_node_labels(self) -> dict[str, str]:
        """Return the labels of this node."""
        return dict(self._now.node_labels)

    def is_canceled(self) -> bool:
        """Tell whether cancel() was called on the running task: a task that works in steps can end early."""
        return self._now.cancelled

    def get(self) -> dict[str, Any]:
        """Return the identifiers that exist here by name."""
        now = self._now
        found = {
            "job_id": now.job_id,
            "node_id": now.node_id,
            "task_id": now.task_id,
            "actor_id": now.actor_id,
        }
        return {name: value.hex() for name, value in found.items() if value}

    @property
    def runtime_env(self) -> dict[str, Any]:
        """The environment it runs in."""
        return dict(self._now.runtime_env)

    @property
    def namespace(self) -> str:
        """Where names of actors are looked up."""
        return self._now.namespace

    @property
    def gcs_address(self) -> str:
        """The address of the cluster."""
        return self._now.address

    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A handle of the actor that asks. Raises RuntimeError outside an actor."""
        actor_id = self._now.actor_id
        for info in engine_or_start().actors() if actor_id else ():
            if info.actor_id == actor_id:
                return ActorHandle(info)
        raise RuntimeError("current_actor is for code inside an actor")

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor that asks was restarted. Raises RuntimeError outside an actor."""
        now = self._now
        if not now.actor_id:
            raise RuntimeError("was_current_actor_reconstructed is for code inside an actor")
        return now.actor_was_restarted

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether what it submits runs in its own placement group unless told otherwise."""
        return self._now.capture_child_tasks

    # Older spellings of the reference.

    @property
    def job_id(self) -> JobID:
        """The program's identifier; `get_job_id()` in new programs."""
        return JobID(self._now.job_id)

    @property
    def node_id(self) -> NodeID:
        """This node's identifier; `get_node_id()` in new programs."""
        return NodeID(self._now.node_id)

    @property
    def task_id(self) -> TaskID | None:
        """The running task's identifier, None in a driver; `get_task_id()` in new programs."""
        now = self._now
        if not now.task_id:
            return None
        actor = now.actor_id or bytes(ActorID.nil())
        return TaskID.told(now.task_id, job=bytes(now.job_id), actor=actor)

    @property
    def actor_id(self) -> ActorID | None:
        """The actor's identifier, None outside an actor; `get_actor_id()` in new programs."""
        now = self._now
        return ActorID.told(now.actor_id, job=bytes(now.job_id)) if now.actor_id else None

    @property
    def current_placement_group_id(self) -> PlacementGroupID | None:
        """The placement group that it runs in, or None; `get_placement_group_id()` in new programs."""
        return PlacementGroupID(self._now.group_id) if self._now.group_id else None

    def get_resource_ids(self) -> dict[str, list[str]]:
        """Return the identifiers of the devices that it may use; `get_accelerator_ids()` in new programs."""
        return self.get_accelerator_ids()

    def __repr__(self) -> str:
        return f"RuntimeContext({self.get()})"


_CONTEXT = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """Return what the calling code can know of where it runs.

    Example: `shoal.get_runtime_context().get_node_id()`
    """
    engine_or_start()
    return _CONTEXT


def get_gpu_ids() -> list[str]:
    """Return the identifiers of the GPUs that the calling task or actor may use."""
    return list(engine_or_start().context().accelerator_ids.get("GPU", ()))
