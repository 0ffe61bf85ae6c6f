"""Tables of what a session has: made of its events, and of what it tells beside them if it lives.

The same code reads a living session, a cluster of many nodes and the folder of a dead session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shoal.looking import FAILED, Block, Losses, SessionSeen, events
from shoal.state import records as made
from shoal.state.records import StateResource, StateSchema

_JOB_STATUS = {"RUNNING": "RUNNING", "FINISHED": "SUCCEEDED", "DIED": "FAILED"}  # in the reference's words
_OVER = "its session has ended"


def text(value: Any) -> str:
    """Return an identifier in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else str(value or "")


class Tables:
    """All tables of one look at a session. `losses` says what is missing from them.

    Example: `Tables(look()).records(StateResource.TASKS)`
    """

    def __init__(self, seen: SessionSeen, told: tuple[list[Block], Losses] | None = None) -> None:
        """`told` are the events, and what is missing of them, if they are known already."""
        self.seen = seen
        self.blocks, self.losses = events(seen) if told is None else told
        self._facts: dict[str, list[tuple[float, dict[str, Any], Block]]] = {}
        for block in self.blocks:
            for kind, when, fields in block.facts:
                self._facts.setdefault(kind, []).append((when, fields, block))
        for facts in self._facts.values():
            facts.sort(key=lambda fact: fact[0])
        self._workers: dict[str, dict[str, Any]] | None = None
        self._makers: dict[StateResource, Callable[[], Iterator[StateSchema]]] = {
            StateResource.ACTORS: self._actors,
            StateResource.CLUSTER_EVENTS: self._events,
            StateResource.JOBS: self._jobs,
            StateResource.NODES: self._nodes,
            StateResource.OBJECTS: self._objects,
            StateResource.PLACEMENT_GROUPS: self._groups,
            StateResource.TASKS: self._tasks,
            StateResource.WORKERS: self._worker_records,
        }

    def records(self, resource: StateResource) -> Iterator[StateSchema] | None:
        """Yield the records of a resource, those of what is newest first where there can be many; None: not kept."""
        maker = self._makers.get(resource)
        return None if maker is None else maker()

    def facts(self, kind: str) -> Sequence[tuple[float, dict[str, Any], Block]]:
        """Return the events of a kind as (seconds since 1970, fields, who told), oldest first."""
        return self._facts.get(kind, [])

    # Processes

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each process, by its identifier."""
        if self._workers is None:
            found: dict[str, dict[str, Any]] = {}
            self._workers = found
            for when, fields, block in self.facts("process"):
                one = found.setdefault(text(fields["worker"]), {"node": block.identity["node"]})
                one.update(fields)
                one["start" if fields["state"] == "ALIVE" else "end"] = when
            for node in self.seen.nodes:
                for worker in node.workers:
                    one = found.setdefault(text(worker["worker"]), {"kind": "worker", "node": node.node})
                    one.update({"pid": worker["pid"], "state": "ALIVE"})
        return self._workers

    def _worker_records(self) -> Iterator[made.WorkerState]:
        for identifier, one in sorted(self.workers().items()):
            yield made.WorkerState(
                worker_id=identifier,
                is_alive=self.seen.is_live and one.get("state") == "ALIVE",
                worker_type=str(one["kind"]).upper(),
                exit_type=one.get("exit"),
                exit_detail=one.get("detail"),
                node_id=text(one.get("node")),
                pid=one.get("pid"),
                start_time_ms=_milliseconds(one.get("start")),
                end_time_ms=_milliseconds(one.get("end")),
            )

    # Calls

    def _tasks(self) -> Iterator[made.TaskState]:
        over: set[tuple[str, int, int]] = set()
        for block in self.blocks:
            owner = block.process
            over.update((owner, call[7], call[1]) for call in block.calls)
        yield from self._unfinished(over)
        workers = self.workers()
        for block in reversed(self.blocks):
            owner, job, node = block.process, block.identity["job"], block.identity["node"]
            for call, started, ended in reversed(times(block)):
                name, attempt, actor, worker, _, _, status, counter, created, parent, error = call
                ran_at = workers.get(text(worker), {})
                error_type, _, message = str(error).partition(": ")
                yield made.TaskState(
                    task_id=f"{owner}{counter:016x}",
                    attempt_number=attempt,
                    name=name,
                    func_or_class_name=name,
                    state="FAILED" if status == FAILED else "FINISHED",
                    type="ACTOR_TASK" if actor else "NORMAL_TASK",
                    job_id=job,
                    actor_id=text(actor) or None,
                    parent_task_id=text(parent) or None,
                    worker_id=text(worker) or None,
                    node_id=text(ran_at.get("node") or (node if worker else "")) or None,
                    worker_pid=ran_at.get("pid"),
                    error_type=error_type or None,
                    error_message=message or None,
                    language="PYTHON",
                    creation_time_ms=_milliseconds(created),
                    start_time_ms=_milliseconds(started) if worker else None,
                    end_time_ms=_milliseconds(ended),
                )

    def _unfinished(self, over: set[tuple[str, int, int]]) -> Iterator[made.TaskState]:
        found: dict[tuple[str, int, int], tuple[float, Mapping[str, Any], str]] = {}
        if self.seen.is_live:
            for node in self.seen.nodes:
                for call in node.calls:
                    found[_key(call)] = (0.0, call, "")
        else:
            for when, fields, block in self.facts("call"):
                found[_key(fields)] = (when, fields, block.identity["job"])
        workers = self.workers()
        for key, (when, call, job) in found.items():
            if key in over:
                continue
            actor, worker = text(call["actor"]), text(call["worker"])
            ran_at = workers.get(worker, {})
            is_dead = not self.seen.is_live
            yield made.TaskState(
                task_id=text(call["task"]),
                attempt_number=call["attempt"],
                name=call["name"],
                func_or_class_name=call["name"],
                state="FAILED" if is_dead else call["state"],
                type="ACTOR_TASK" if actor else "NORMAL_TASK",
                job_id=job or self._job_of(key[0]),
                actor_id=actor or None,
                parent_task_id=text(call["parent"]) or None,
                worker_id=worker or None,
                node_id=text(ran_at.get("node")) or None,
                worker_pid=ran_at.get("pid"),
                error_type="SessionEnded" if is_dead else None,
                error_message=f"it was {call['state']} when {_OVER}" if is_dead else None,
                language="PYTHON",
                creation_time_ms=_milliseconds(call["created"]),
                start_time_ms=_milliseconds(when) if when and call["state"] == "RUNNING" else None,
            )

    def _job_of(self, process: str) -> str:
        for block in reversed(self.blocks):
            if block.process == process:
                return str(block.identity["job"])
        jobs = self.seen.known.get("jobs", ())
        return text(jobs[0]["job"]) if len(jobs) == 1 else ""

    # What the head knows

    def _latest(self, kind: str, key: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for when, fields, _ in self.facts(kind):
            one = found.setdefault(text(fields[key]), {"first": when})
            one.update(fields)
            one["last"] = when
        return found

    def _actors(self) -> Iterator[made.ActorState]:
        found = self._latest("actor", "actor")
        for actor in self.seen.known.get("actors", ()):
            one = found.setdefault(text(actor["actor"]), {})
            one.update({name: value for name, value in actor.items() if name not in ("certificate", "info")})
        workers = self.workers()
        for identifier, one in found.items():
            ran_at = workers.get(text(one.get("worker")), {})
            state = one["state"] if self.seen.is_live else "DEAD"
            cause = one.get("cause") or ("" if self.seen.is_live else _OVER)
            yield made.ActorState(
                actor_id=identifier,
                class_name=one["class_name"],
                state=state,
                job_id=text(one.get("job")),
                name=one["name"],
                ray_namespace=one["namespace"],
                node_id=text(ran_at.get("node")) or None,
                pid=ran_at.get("pid") or one.get("pid"),
                is_detached=one["detached"],
                num_restarts=one.get("restarts"),
                death_cause={"reason": cause} if cause and state in ("DEAD", "RESTARTING") else None,
            )

    def _nodes(self) -> Iterator[made.NodeState]:
        found = self._latest("session", "node")
        for identifier, fields in self._latest("node", "node").items():
            found.setdefault(identifier, {}).update(fields)
        for node in self.seen.known.get("nodes", ()):
            found.setdefault(text(node["id"]), {}).update(
                {name: node[name] for name in ("state", "reason", "address", "labels")}
            )
        for identifier, one in found.items():
            facts = one.get("facts", {})
            is_head = facts.get("head") == "yes" or bool(one.get("is_head"))
            state = one["state"] if self.seen.is_live else "DEAD"
            yield made.NodeState(
                node_id=identifier,
                node_ip=str(one.get("address", "")),
                is_head_node=is_head,
                state=state,
                state_message=one.get("reason") or None,
                node_name=str(facts.get("host") or one.get("address", "")),
                resources_total=dict(one.get("total", {})),
                labels=dict(one.get("labels", {})),
                start_time_ms=_milliseconds(one.get("first")),
                end_time_ms=_milliseconds(one.get("last")) if state == "DEAD" else None,
            )

    def _groups(self) -> Iterator[made.PlacementGroupState]:
        found = self._latest("group", "group_id")
        for group in self.seen.known.get("groups", ()):
            found.setdefault(text(group["group_id"]), {}).update(group)
        for identifier, one in found.items():
            yield made.PlacementGroupState(
                placement_group_id=identifier,
                name=one["name"],
                state=one["state"] if self.seen.is_live else "REMOVED",
                bundles=[
                    {
                        "bundle_index": index,
                        "unit_resources": dict(bundle),
                        "node_id": one["bundle_nodes"].get(index),
                    }
                    for index, bundle in sorted(one["bundles"].items())
                ],
            )

    def _jobs(self) -> Iterator[made.JobState]:
        found = self._latest("job", "job")
        for job in self.seen.known.get("jobs", ()):
            found.setdefault(text(job["job"]), {}).update(job)
        for identifier, job in found.items():
            state = job["state"]
            yield made.JobState(
                type="DRIVER",
                job_id=identifier,
                status=_JOB_STATUS[state]
                if self.seen.is_live or state != "RUNNING"
                else _JOB_STATUS["FINISHED"],
                entrypoint=job["entrypoint"],
                message=job["message"] or None,
                start_time=_milliseconds(job["started"]),
                end_time=_milliseconds(job["ended"] or (None if self.seen.is_live else job.get("last"))),
                driver_info={"pid": job["pid"], "node": job["node"]},
                driver_node_id=job["node"],
                name=job["name"] or None,
                priority=job["priority"],
                share=job["share"],
                quota=dict(job.get("quota", {})),
                used=dict(job.get("used", {})),
                waiting=job.get("waiting"),
                preempted=job.get("preempted"),
            )

    # Objects

    def _objects(self) -> Iterator[made.ObjectState]:
        if self.seen.is_live:
            for report in self.seen.objects:
                for process in report["processes"]:
                    for entry in process["objects"]:
                        yield _held(entry, process)
            return
        for identifier, one in self._latest("object", "object").items():
            if one["state"] != "FREED":
                yield made.ObjectState(
                    object_id=identifier,
                    object_size=one.get("size"),
                    task_status="FINISHED",
                    reference_type="LOCAL_REFERENCE",
                    type="DRIVER",
                )

    # What happened

    def _events(self) -> Iterator[made.ClusterEventState]:
        wanted = ("session", "node", "process", "actor", "group", "job", "retry")
        found = sorted(
            ((when, kind, fields) for kind in wanted for when, fields, _ in self.facts(kind)),
            key=lambda fact: -fact[0],
        )
        for number, (when, kind, fields) in enumerate(found):
            plain = {name: text(v) if isinstance(v, bytes) else v for name, v in fields.items()}
            is_bad = fields.get("state") in ("DEAD", "DIED", "RESTARTING") or kind == "retry"
            reason = fields.get("cause") or fields.get("reason") or fields.get("detail") or fields.get("why")
            named = (
                fields.get("class_name") or fields.get("name") or plain.get(kind) or plain.get("worker", "")
            )
            what = f"{kind} {named} {fields.get('state', '')}".strip()
            yield made.ClusterEventState(
                severity="WARNING" if is_bad and reason else "INFO",
                time=made.Humanify.timestamp(when * 1000),
                source_type=kind.upper(),
                message=f"{what}: {reason}" if reason else what,
                event_id=f"{when:.6f}-{number}",
                custom_fields=plain,
            )


def times(block: Block) -> list[tuple[list[Any], float, float]]:
    """Return the calls of a block with when each began and ended, in seconds since 1970.

    Answers come in batches, so what is recorded as the end is that of the batch's last call: the others of one worker
    ended when the next began.
    """
    latest: dict[tuple[bytes, float], float] = {}
    found = []
    for call in reversed(block.calls):
        ended, duration = call[4], call[5] * 1e-6
        if call[3] and not call[2]:
            key = (call[3], ended)
            ended = min(ended, latest.get(key, ended))
            latest[key] = ended - duration
        found.append((call, ended - duration, ended))
    return found[::-1]


def _key(call: Mapping[str, Any]) -> tuple[str, int, int]:
    task = bytes(call["task"])
    return task[:8].hex(), int.from_bytes(task[8:16], "big"), call["attempt"]


def _milliseconds(seconds: float | None) -> int | None:
    return int(seconds * 1000) if seconds else None


def _held(entry: Mapping[str, Any], process: Mapping[str, Any]) -> made.ObjectState:
    kinds = [
        ("local", "LOCAL_REFERENCE"),
        ("queued", "USED_BY_PENDING_TASK"),
        ("captured", "CAPTURED_IN_OBJECT"),
        ("lineage", "LINEAGE"),
    ]
    by = next((name for field, name in kinds if entry[field]), "BORROWED")
    return made.ObjectState(
        object_id=entry["object"].hex(),
        object_size=entry["size"] or None,
        task_status="PENDING" if entry["state"] == "PENDING" else "FINISHED",
        reference_type=by,
        call_site=entry["call_site"] or None,
        type=str(process["kind"]).upper(),
        pid=process["pid"],
    )
