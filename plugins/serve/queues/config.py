"""How tasks are taken from queues."""

from __future__ import annotations

from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks


def _settings(given: Any) -> dict[str, Any]:
    return checks.mapping(given or {}, "settings of Celery")


@attrs.frozen(kw_only=True)
class CeleryAdapterConfig:
    """A broker of Celery's, and where results are kept.

    Parameters: `broker_url` ("redis://…", "amqp://…", "filesystem://", "memory://"), `backend_url` for results (None:
    nobody asks for them); `broker_transport_options` are the broker's; `app_custom_config` are settings of Celery, and
    `task_custom_config` what tasks are declared with.

    Example: `CeleryAdapterConfig(broker_url="redis://127.0.0.1/0", backend_url="redis://127.0.0.1/1")`
    """

    broker_url: str = attrs.field(validator=checks.text())
    backend_url: str | None = None
    broker_transport_options: dict[str, Any] = attrs.field(factory=dict, converter=_settings)
    app_custom_config: dict[str, Any] = attrs.field(factory=dict, converter=_settings)
    task_custom_config: dict[str, Any] = attrs.field(factory=dict, converter=_settings)


@attrs.frozen(kw_only=True)
class TaskProcessorConfig:
    """A queue, and who brings its tasks.

    Parameters: `queue_name`; `adapter` is a class of `TaskProcessorAdapter`, or the path of one ("module:Name" or
    "module.Name"), and `adapter_config` what it takes; a task that raises is tried again `max_retries` times, then put
    into `failed_task_queue_name` if there is one; one that nobody here can do goes to `unprocessable_task_queue_name`.

    Raises ConfigError.

    Example: `TaskProcessorConfig(queue_name="pictures", adapter_config=CeleryAdapterConfig(broker_url="memory://"))`
    """

    queue_name: str = attrs.field(validator=checks.text())
    adapter: Any = "shoal.serve.queues.celery_adapter:CeleryTaskProcessorAdapter"
    adapter_config: Any = None
    max_retries: int = attrs.field(default=3, validator=checks.whole(0))
    failed_task_queue_name: str | None = None
    unprocessable_task_queue_name: str | None = None

    def adapter_class(self) -> type[Any]:
        """Return the adapter's class. Raises ConfigError if there is none of that name."""
        from shoal.serve.queues.adapter import TaskProcessorAdapter

        found = self.adapter
        if isinstance(found, str):
            import importlib

            module, _, name = found.replace(":", ".").rpartition(".")
            try:
                found = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError, ValueError) as error:
                raise ConfigError(f"adapter {self.adapter!r} cannot be imported: {error}") from error
        if not isinstance(found, type) or not issubclass(found, TaskProcessorAdapter):
            raise ConfigError(f"adapter must be a TaskProcessorAdapter, not {describe(self.adapter)}")
        return found
