"""Looking at the cluster: nodes, what is free, where the calling code runs, and why something is not ready."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import TaskUnschedulable
from shoal.ids import NodeID
from shoal.interfaces.refs import ObjectRef
from shoal.onray.parcels import short
from shoal.onray.real import part
from shoal.onray.worker import here
from shoal.spec.calls import ExecutionContext
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, Explanation, NodeView

if TYPE_CHECKING:
    from shoal.onray.engine import RayEngine


class Looking:
    """Reads Ray's own tables."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        self._fixed: ExecutionContext | None = None  # what never changes in this process
        self._restarted: bool | None = None

    def view(self) -> ClusterView:
        """Return the nodes as Ray knows them now."""
        # The only table with what is free on each node; ray.available_resources() adds all nodes up.
        free = part("_private.state").available_resources_per_node()
        nodes = {}
        for row in self._engine.ray.nodes():
            node_id = NodeID(short(bytes.fromhex(row["NodeID"]), 8))
            nodes[node_id] = NodeView(
                node_id=node_id,
                total=_quantities(row["Resources"]),
                available=_quantities(free.get(row["NodeID"], {})),
                labels=dict(row.get("Labels") or {}),
                alive=bool(row["Alive"]),
                address=str(row["NodeManagerAddress"]),
            )
        return ClusterView(nodes=nodes, local=NodeID(self.context().node_id))

    def ray_node(self, node_id: bytes) -> str:
        """Return Ray's identifier of a node. Raises ValueError for one that Ray does not know."""
        for row in self._engine.ray.nodes():
            if short(bytes.fromhex(row["NodeID"]), 8) == node_id:
                return str(row["NodeID"])
        if len(bytes(node_id)) == 8:
            return bytes(node_id).hex().ljust(56, "0")  # no such node: Ray says so, or goes elsewhere if soft
        raise ValueError(f"no node {bytes(node_id).hex()} is known to Ray")

    def check_feasible(self, resources: ResourceSet, selector: Mapping[str, str]) -> None:
        """Raise TaskUnschedulable if the settings ask for that and no node could ever hold it."""
        if self._engine.config.infeasible != "error":
            return
        reason = self._why_never(resources, selector)
        if reason:
            raise TaskUnschedulable(reason)

    def _why_never(self, resources: ResourceSet, selector: Mapping[str, str]) -> str:
        nodes = [node for node in self.view().nodes.values() if node.alive]
        matching = [node for node in nodes if _matches(selector, node.labels)]
        if not matching:
            return f"no node has labels that fit {dict(selector)}"
        short_of = [node.total.shortfall(resources) for node in matching]
        return (
            ""
            if not all(short_of)
            else f"no node has {resources}; the nearest is short of {min(short_of, key=len)}"
        )

    def context(self) -> ExecutionContext:
        """Return where the calling code runs."""
        engine = self._engine
        context = engine.ray.get_runtime_context()
        if self._fixed is None:
            session = context.get_session_name()
            own: Mapping[str, Any] = next(
                (row for row in engine.ray.nodes() if row["NodeID"] == context.get_node_id()), {"Labels": {}}
            )
            self._fixed = ExecutionContext(
                job_id=bytes.fromhex(context.get_job_id()),
                node_id=short(bytes.fromhex(context.get_node_id()), 8),
                worker_id=short(bytes.fromhex(context.get_worker_id()), 8),
                namespace=engine.namespace,
                session_name=session,
                session_folder=f"{context.get_temp_dir()}/{session}",
                address=context.gcs_address,
                node_labels=dict(own.get("Labels") or {}),
                runtime_env=dict(engine.config.runtime_env),
                is_driver=engine.is_driver,
            )
        return self._fixed if engine.is_driver else self._in_worker(context)

    def _in_worker(self, context: Any) -> ExecutionContext:
        import attrs

        assert self._fixed is not None
        now, engine = here.get(), self._engine
        task = context.get_task_id()
        group = context.get_placement_group_id()
        info = now.info or engine.actors_of.own
        return attrs.evolve(
            self._fixed,
            task_id=short(bytes.fromhex(task), 16) if task else b"",
            actor_id=info.actor_id if info else b"",
            actor_name=info.name if info else "",
            namespace=info.namespace if info else engine.namespace,
            function_name=now.function_name,
            task_name=now.name,
            resources=dict(context.get_assigned_resources()),
            accelerator_ids={
                name: tuple(map(str, ids)) for name, ids in context.get_accelerator_ids().items() if ids
            },
            group_id=engine.placement.our_id(group) if group else b"",
            capture_child_tasks=bool(context.should_capture_child_tasks_in_placement_group),
            runtime_env={
                **engine.config.runtime_env,
                **(pickle.loads(now.runtime_env) if now.runtime_env else {}),
            },
            actor_was_restarted=bool(info) and self._was_restarted(context),
            cancelled=not info and context.is_canceled(),
            # Ray's own context has no word for it.
            attempt=part("_private.worker").global_worker.core_worker.get_current_task_attempt_number(),
        )

    def _was_restarted(self, context: Any) -> bool:
        """Ask Ray once: it asks its head, and a process never changes its answer."""
        if self._restarted is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray's own property uses another that Ray deprecates
                self._restarted = bool(context.was_current_actor_reconstructed)
        return self._restarted

    def explain(self, target: ObjectRef[Any] | bytes) -> Explanation:
        """Say what is known of why a reference or actor is not ready."""
        engine = self._engine
        if not isinstance(target, ObjectRef):
            info = next((one for one in engine.actors() if one.actor_id == target), None)
            if info is None:
                return Explanation(subject=f"actor {bytes(target).hex()}", state="unknown to this session")
            subject = f"actor {info.class_name} {info.actor_id.hex()}"
            return Explanation(subject=subject, state=info.state.lower())
        subject = f"object {target.hex()}"
        ready, _ = engine.wait([target], 1, 0, False)
        if ready:
            return Explanation(subject=subject, state="ready")
        held = target.record
        reasons = [f"{held.name or 'a call'}() makes it and has not finished"]
        if held.demand is not None:
            never = self._why_never(held.demand, {})
            free = [node.available for node in self.view().nodes.values() if node.alive]
            if never:
                reasons.append(never)
            elif not any(node.covers(held.demand) for node in free):
                reasons.append(f"it asks for {held.demand}, and no node has that free now: {free}")
        return Explanation(subject=subject, state="not ready", reasons=reasons)


def _quantities(given: Mapping[str, float]) -> ResourceSet:
    """Return what can be asked for: Ray also marks nodes with resources of their own, named node:…"""
    return ResourceSet.of(
        {name: round(amount, 4) for name, amount in given.items() if not name.startswith("node:")}
    )


def _matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Tell whether labels fit: "a", "!a", "in(a, b)", "!in(a, b)"."""
    for name, wanted in selector.items():
        denied = wanted.startswith("!")
        wanted = wanted.removeprefix("!")
        inner = wanted[3:-1] if wanted.startswith("in(") and wanted.endswith(")") else wanted
        allowed = {one.strip() for one in inner.split(",")}
        if (labels.get(name) in allowed) is denied:
            return False
    return True
