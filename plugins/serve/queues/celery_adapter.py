"""Tasks by Celery: whatever brokers it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, describe
from shoal.serve.queues.adapter import TaskProcessorAdapter, TaskResult
from shoal.serve.queues.config import CeleryAdapterConfig

if TYPE_CHECKING:
    import celery

_STARTED_SECONDS = 30.0
_ASK_SECONDS = 1.0


class CeleryTaskProcessorAdapter(TaskProcessorAdapter):
    """A worker of Celery in a thread of the replica, whose tasks run in threads.

    Messages are JSON only: nothing that comes from a broker is unpickled. A task is taken off the queue when it has
    been done, so that the death of a replica loses none; one may be done twice then.

    Example: `instantiate_adapter_from_config(TaskProcessorConfig(queue_name="a", adapter_config=celery_config))`
    """

    def initialize(self, consumer_concurrency: int = 1) -> None:
        """Make Celery's application. Raises ConfigError without Celery, or with settings of another adapter."""
        from shoal.serve.proxy.actor import require

        require("celery", "queues")
        import celery

        given = self.config.adapter_config
        if not isinstance(given, CeleryAdapterConfig):
            raise ConfigError(f"adapter_config must be a CeleryAdapterConfig, not {describe(given)}")
        self._concurrency = consumer_concurrency
        self._worker: Any = None
        self._thread: threading.Thread | None = None
        self._broken: BaseException | None = None
        self._handled: set[str] = set()
        self._given = given
        self._app: celery.Celery = celery.Celery(
            self.config.queue_name, broker=given.broker_url, backend=given.backend_url
        )
        self._app.conf.update(
            task_default_queue=self.config.queue_name,
            task_serializer="json",
            result_serializer="json",
            accept_content=["json"],
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            task_track_started=True,
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
            broker_transport_options=given.broker_transport_options,
            **given.app_custom_config,
        )

    def register_task_handle(self, func: Callable[..., Any], name: str | None = None) -> None:
        """Have a function do the tasks of a name."""
        retries = self.config.max_retries
        failed = self.config.failed_task_queue_name
        own = name or func.__name__
        app = self._app

        def run(task: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return func(*args, **kwargs)
            except Exception as error:  # the user's
                if task.request.retries < retries:
                    raise task.retry(exc=error, countdown=0, max_retries=retries) from error
                if failed is not None:
                    app.send_task(own, args, kwargs, queue=failed, headers={"error": str(error)})
                raise

        app.task(run, name=own, bind=True, **self._given.task_custom_config)
        self._handled.add(own)

    def enqueue_task_sync(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        """Put a task into the queue; `options` are those of Celery's `send_task`."""
        made = self._app.send_task(task_name, args, kwargs, **{"queue": self.config.queue_name, **options})
        return TaskResult(made.id, "PENDING", time.time())

    def get_task_status_sync(self, task_id: str) -> TaskResult:
        """Return how a task stands. Raises ConfigError without `backend_url`: nobody knows then."""
        if self._given.backend_url is None:
            raise ConfigError("backend_url of CeleryAdapterConfig is not told: nobody keeps results")
        found = self._app.AsyncResult(task_id)
        result = found.result
        return TaskResult(
            task_id, str(found.status), None, str(result) if isinstance(result, BaseException) else result
        )

    def cancel_task_sync(self, task_id: str) -> bool:
        """Tell all consumers that a task is not to begin."""
        self._app.control.revoke(task_id)
        return True

    def start_consumer(self, **kwargs: Any) -> None:
        """Begin to take tasks in a thread. Raises ConfigError if the broker does not let it, within a bound."""
        from celery import signals

        ready = threading.Event()
        unknown = self.config.unprocessable_task_queue_name

        def nobody(message: Any = None, name: Any = None, **more: Any) -> None:
            if unknown is not None and message is not None:
                args, given, _ = message.payload
                self._app.send_task(str(name), args, given, queue=unknown)

        signals.task_unknown.connect(nobody, weak=False)
        self._app.set_default()  # in the threads that tasks run in: else their results go nowhere
        self._worker = self._app.WorkController(
            ready_callback=lambda _: ready.set(),
            pool="threads",
            concurrency=self._concurrency,
            queues=[self.config.queue_name],
            hostname=f"{self.config.queue_name}-{threading.get_native_id()}@shoal",
            without_mingle=True,
            without_gossip=True,
            **kwargs,
        )

        def body() -> None:
            try:
                self._worker.start()
            except BaseException as error:
                self._broken = error
                ready.set()

        self._thread = threading.Thread(target=body, name="shoal-tasks", daemon=True)
        self._thread.start()
        if not ready.wait(_STARTED_SECONDS):
            raise ConfigError(
                f"the broker {self._given.broker_url} did not let a consumer begin within {_STARTED_SECONDS:g} s"
            )
        if self._broken is not None:
            raise ConfigError(f"the consumer of tasks could not begin: {self._broken}") from self._broken

    def stop_consumer(self, timeout: float = 10.0) -> None:
        """Take no more tasks, and wait for those under way."""
        if self._thread is None:
            return
        self._worker.stop(in_sighandler=False)
        self._thread.join(timeout)
        self._thread = None

    def get_metrics_sync(self) -> dict[str, Any]:
        """Return how many tasks wait, and how many are under way here."""
        with self._app.connection_for_read() as connection:
            channel = connection.default_channel
            waiting = channel.queue_declare(self.config.queue_name, passive=True).message_count
        from celery.worker import state

        return {"queue_length": int(waiting), "active": len(state.active_requests)}

    def health_check_sync(self) -> list[dict[str, Any]]:
        """Return what consumers answer within a second; raises what the broker raises if it cannot be reached."""
        told: list[dict[str, Any]] = self._app.control.ping(timeout=_ASK_SECONDS)
        return told
