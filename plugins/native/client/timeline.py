"""What ran, as Chrome trace events: all calls of this process, and those of the others that their logs have kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from shoal.errors import GetTimeout
from shoal.native.client.looking import look
from shoal.observe.eventlog import FAILED
from shoal.observe.eventreader import read_blocks

if TYPE_CHECKING:
    from shoal.native.client.client import Client

_SECONDS = 10.0


def timeline(client: Client) -> list[dict[str, Any]]:
    """Return the events, those of each process in the order they ended. Without an event log, this process's only."""
    with client.reactor.lock:
        client.recorder.take()
        calls = list(client.events)
    events = [_event(client.worker_id, client.session.node_id.hex(), call) for call in calls]
    if client.config.event_log_max_bytes > 0:
        events += _of_others(client)
    return events


def _of_others(client: Client) -> Iterator[dict[str, Any]]:
    try:
        seen = look(client, False, _SECONDS)
    except GetTimeout:  # the node is busy: what this process knows is better than nothing
        return
    own = client.worker_id.hex()
    blocks, _ = read_blocks(part for node in seen.nodes for part in node.log)
    for block in blocks:
        if block.process != own:
            owner, node = bytes.fromhex(block.process), str(block.identity["node"])
            for call in block.calls:
                yield _event(owner, node, call)


def _event(owner: bytes, node: str, call: Any) -> dict[str, Any]:
    """Return the event of a call, which is as in `eventlog.CALL_FIELDS`."""
    name, attempt, actor, worker_id, ended, duration, status, counter, *_ = call
    task = owner + counter.to_bytes(8, "big")
    facts = {"task_id": task.hex(), "attempt": attempt, "failed": status == FAILED}
    return {
        "name": name,
        "cat": "actor" if actor else "task",
        "ph": "X",
        "ts": ended * 1e6 - duration,
        "dur": duration,
        "pid": node,
        "tid": worker_id.hex(),
        "args": {**facts, "actor_id": actor.hex()} if actor else facts,
    }
