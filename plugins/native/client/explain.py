"""Why something has not happened yet, from what this process knows and what the daemon and owners answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shoal.native.client.records import Record, Task
from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.client.actors import ActorClient
    from shoal.native.client.client import Client

_ASK_SECONDS = 2.0
_DEEPEST = 8  # arguments that wait for arguments that wait …


def record_reasons(client: Client, record: Record, may_ask: bool, depth: int = 0) -> list[str]:
    """Return the reasons why an object has no value, nearest first."""
    if record.status is not None:
        return []
    if not record.owned:
        return _ask_owner(client, record) if may_ask else ["its owner has to make it"]
    task = record.task
    if task is None:
        for group_id, records in client.groups.items():
            if record in records:
                return client.request("explain_group", group_id) if may_ask else ["its group is not reserved"]
        return ["nothing is making it"]
    return task_reasons(client, task, may_ask, depth)


def task_reasons(client: Client, task: Task, may_ask: bool, depth: int) -> list[str]:
    """Return where a call is and what it waits for."""
    name = task.function.name
    if task.waiting:
        missing = [ref for _, ref in task.slots or () if ref.record.status is None]
        lines = [f"{name} waits for {len(missing)} of its arguments, first object {missing[0].hex()}"]
        if depth < _DEEPEST:
            lines += record_reasons(client, missing[0].record, may_ask, depth + 1)
        return lines
    if task.actor is not None:
        return _actor_call_reasons(client, task, may_ask)
    if task.peer is not None:
        ahead = list(task.peer.inflight).index(task.counter) if task.counter in task.peer.inflight else 0
        if ahead:
            return [f"{name} was sent to worker {task.peer.worker_id.hex()}, behind {ahead} other calls"]
        return [f"{name} is running in worker {task.peer.worker_id.hex()} (attempt {task.attempt + 1})"]
    klass = task.function.klass
    lines = []
    if task in klass.queue:
        ahead = klass.queue.index(task)
        lines.append(
            f"{name} is queued behind {ahead} calls of its kind; {len(klass.leases)} workers serve them"
        )
    if klass.problem:
        lines.append(klass.message)
    elif may_ask:
        lines += client.request("explain_class", klass.key, timeout=_ASK_SECONDS)
    return lines or [f"{name} is about to be sent"]


def _actor_call_reasons(client: Client, task: Task, may_ask: bool) -> list[str]:
    actor: ActorClient = task.actor
    name = task.function.name
    host = client.own_actor()
    if host is not None and host == actor.actor_id:
        return [
            f"{name} is a call to the actor that waits for it: a cycle. A serial actor cannot wait for a call to "
            "itself; call the method directly, make it async, or give it max_concurrency > 1"
        ]
    if task.peer is None:
        lines = [f"{name} waits: actor {actor.info.class_name} is {actor.state}"]
        if may_ask:
            lines += actor_reasons(client, actor.actor_id)
        return lines
    mine = [other for other in task.peer.inflight.values() if other.actor is actor]
    ahead = mine.index(task) if task in mine else 0
    if ahead:
        return [f"{name} was sent to actor {actor.info.class_name}, behind {ahead} calls of this process"]
    return [f"{name} was sent to actor {actor.info.class_name}, and runs there or waits for other callers"]


def actor_reasons(client: Client, actor_id: bytes) -> list[str]:
    """Return what the directory says of an actor."""
    lines: list[str] = client.request("explain_actor", actor_id, timeout=_ASK_SECONDS)
    return lines


def _ask_owner(client: Client, record: Record) -> list[str]:
    owner = record.object_id[:8]
    answer: list[Any] = []
    with client.reactor.lock:
        number = client.expect_answer(lambda ok, value: answer.append(value))
        client.peers.send(client.peers.get(owner), [kinds.EXPLAIN_OBJECT, number, record.object_id])
    client.reactor.run_until(lambda: bool(answer), time.monotonic() + _ASK_SECONDS)
    if not answer:
        return [f"its owner, process {owner.hex()}, does not answer"]
    return [f"its owner is process {owner.hex()}", *answer[0]]
