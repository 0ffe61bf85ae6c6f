"""Telling observers what this process has seen; free of cost where nobody listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.death import DeathCertificate
from shoal.interfaces.store import TellsSpills
from shoal.native.wire import kinds
from shoal.registry.discover import find
from shoal.registry.groups import HOOKS
from shoal.registry.listeners import Listeners
from shoal.serial import load_error
from shoal.spec.events import ActorDied, LogLines, ObjectSpilled, TaskFinished, WorkerDied

if TYPE_CHECKING:
    from shoal.native.client.client import Client
    from shoal.native.client.records import Task


def installed_listeners() -> Listeners:
    """Return the observers that installed packages bring, ready to be told."""
    listeners = Listeners()
    if find(HOOKS):
        listeners.find_installed()
    listeners.start()
    return listeners


def _class_of(error: bytes) -> str:
    raised = load_error(error)
    return type(getattr(raised, "original", None) or raised).__name__


class Observing:
    """What one process tells its observers. Called under the lock: observers are told after it is released."""

    def __init__(self, client: Client, listeners: Listeners) -> None:
        self._client = client
        self.listeners = listeners
        self.tasks = listeners.listening("shoal_task_finished")
        if listeners.listening("shoal_object_spilled") and isinstance(client.store, TellsSpills):
            client.store.on_spill = self._object_spilled

    def _emit(self, hook: str, event: Any) -> None:
        self._client.reactor.call_soon_unlocked(lambda: self.listeners.emit(hook, event))

    def task_finished(self, task: Task, worker: bytes, ended: float, item: list[Any]) -> None:
        """One attempt of a call is over; `item` is the worker's answer."""
        duration, status = item[1], item[2]
        task_id = self._client.worker_id + task.counter.to_bytes(8, "big")
        event = TaskFinished(
            task=task_id.hex(),
            name=task.function.name,
            worker=worker.hex(),
            started=ended - duration * 1e-6,
            duration=duration * 1e-6,
            attempt=task.attempt,
            error=_class_of(item[3]) if status == kinds.ERROR else "",
            actor="" if task.actor is None else task.actor.actor_id.hex(),
        )
        self._emit("shoal_task_finished", event)

    def _object_spilled(self, object_id: bytes, size: int) -> None:
        self._emit("shoal_object_spilled", ObjectSpilled(object=object_id.hex(), size=size))

    def worker_died(self, worker: bytes, certificate: DeathCertificate) -> None:
        """A worker that this process used is gone."""
        if self.listeners.listening("shoal_worker_died"):
            self._emit("shoal_worker_died", WorkerDied(worker=worker.hex(), certificate=certificate))

    def actor_died(
        self, actor: bytes, name: str, restarting: bool, certificate: DeathCertificate | None
    ) -> None:
        """An actor that this process created is gone, or restarts."""
        if certificate is not None and self.listeners.listening("shoal_actor_died"):
            event = ActorDied(actor=actor.hex(), name=name, restarting=restarting, certificate=certificate)
            self._emit("shoal_actor_died", event)

    def log_lines(self, worker: bytes, process: int, name: str, stream: str, lines: list[str]) -> None:
        """Workers have printed."""
        if self.listeners.listening("shoal_log_lines"):
            event = LogLines(
                worker=worker.hex(), process=process, name=name, stream=stream, lines=tuple(lines)
            )
            self._emit("shoal_log_lines", event)
