"""Following who waits for whom from process to process, to the root or round a cycle."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shoal.native.client.explain import record_reasons
from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.client.client import Client
    from shoal.native.client.peers import Peer
    from shoal.native.client.records import Record

_ASK_SECONDS = 2.0
_LONGEST = 64  # processes in a chain


class WaitChains:
    """Asks, and answers, what a process's current call waits for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.waiting: list[
            list[Record]
        ] = []  # what the threads of this process wait for in get(), latest last
        client.handlers[kinds.EXPLAIN_BUSY] = self._on_explain_busy

    def follow(self, record: Record) -> list[str]:
        """Return why a record is not ready, going on from process to process."""
        client = self._client
        lines = record_reasons(client, record, True)
        task = record.task
        if task is None or task.peer is None:
            return lines
        answer: list[Any] = []
        with client.reactor.lock:
            number = client.expect_answer(lambda ok, value: answer.append(value))
            client.peers.send(task.peer, [kinds.EXPLAIN_BUSY, number, [client.worker_id]])
        client.reactor.run_until(lambda: bool(answer), time.monotonic() + _ASK_SECONDS)
        return lines + (
            answer[0] if answer else ["that process does not answer: it computes without a pause"]
        )

    def _on_explain_busy(self, peer: Peer, message: list[Any]) -> None:
        _, number, trail = message
        client = self._client

        def answer(lines: list[str]) -> None:
            client.peers.send(peer, [kinds.EXPLAINED, number, lines])

        execution = client.execution()
        if execution is None:
            answer(["that process runs nothing at the moment"])
            return
        name = execution.name
        waits = (record for records in reversed(self.waiting) for record in records if record.status is None)
        record = next(waits, None)
        if record is None:
            answer([f"{name} is running there"])
            return
        lines = [f"{name} waits there in get() for object {record.object_id.hex()}"]
        lines += record_reasons(client, record, False)
        task = record.task
        following = None if task is None else task.peer
        trail = [*trail, client.worker_id]
        if following is None or len(trail) > _LONGEST:
            answer(lines)
        elif following.worker_id in trail:
            length = len(trail) - trail.index(following.worker_id)
            lines.append(
                f"this closes a cycle of waits over {length} processes, and none of them can go on. "
                "Let one of the calls return a reference instead of waiting, or make one actor async"
            )
            answer(lines)
        else:
            onward = client.expect_answer(lambda ok, value: answer(lines + (value if ok else [])))
            client.peers.send(following, [kinds.EXPLAIN_BUSY, onward, trail])
