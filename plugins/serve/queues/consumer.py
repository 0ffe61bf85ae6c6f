"""Classes whose methods do the tasks of a queue."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from shoal.errors import ConfigError, describe
from shoal.serve.context import replica_context_or_none
from shoal.serve.queues.adapter import TaskProcessorAdapter
from shoal.serve.queues.config import TaskProcessorConfig

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_NAME = "_shoal_task_name"
_STOP_SECONDS = 10.0


def instantiate_adapter_from_config(task_processor_config: TaskProcessorConfig) -> TaskProcessorAdapter:
    """Return the adapter of a queue, ready to put tasks into it.

    Raises ConfigError.

    Example: `instantiate_adapter_from_config(config).enqueue_task_sync("shrink", args=["cat.png"])`
    """
    if not isinstance(task_processor_config, TaskProcessorConfig):
        raise ConfigError(f"a TaskProcessorConfig is needed, not {describe(task_processor_config)}")
    made: TaskProcessorAdapter = task_processor_config.adapter_class()(task_processor_config)
    made.initialize()
    return made


@overload
def task_handler(_func: F) -> F: ...


@overload
def task_handler(_func: None = None, *, name: str | None = None) -> Callable[[F], F]: ...


def task_handler(_func: Any = None, *, name: str | None = None) -> Any:
    """Mark a method that does the tasks of a name (None: the method's). It may be `async`.

    Raises ConfigError for a name that is no text, or empty.

    Example: `@task_handler(name="shrink")` above a method
    """
    given: Any = name
    if given is not None and (not isinstance(given, str) or not given.strip()):
        raise ConfigError(f"the name of a task must be text, not {describe(name)}")

    def mark(method: F) -> F:
        setattr(method, _NAME, name or method.__name__)
        return method

    return mark if _func is None else mark(_func)


def task_consumer(*, task_processor_config: TaskProcessorConfig) -> Callable[[type[T]], type[T]]:
    """Have each replica of a deployment take tasks from a queue, and do them by its methods that `task_handler` marks.

    As many tasks are under way in a replica at a time as its `max_ongoing_requests` says. Put it under
    `@serve.deployment`.

    Raises ConfigError.

    Example:
        @serve.deployment
        @task_consumer(task_processor_config=TaskProcessorConfig(queue_name="pictures", adapter_config=celery))
        class Pictures:
            @task_handler(name="shrink")
            def shrink(self, path): ...
    """
    if not isinstance(task_processor_config, TaskProcessorConfig):
        raise ConfigError(
            f"task_processor_config must be a TaskProcessorConfig, not {describe(task_processor_config)}"
        )

    def wrap(target: type[T]) -> type[T]:
        if not inspect.isclass(target):
            raise ConfigError(f"task_consumer is for classes, not for {describe(target)}")
        handlers = {
            name: getattr(method, _NAME)
            for name, method in inspect.getmembers(target, inspect.isfunction)
            if hasattr(method, _NAME)
        }
        if not handlers:
            raise ConfigError(f"{target.__name__} has no method that task_handler marks")

        @functools.wraps(target, updated=())
        class Consumer(target):  # type: ignore[misc, valid-type]
            """The class, and a consumer beside it."""

            async def __serve_start__(self) -> None:
                """Begin to take tasks: the replica calls it in its event loop, after the constructor."""
                before = getattr(super(), "__serve_start__", None)
                if before is not None:
                    await before()
                loop = asyncio.get_running_loop()
                adapter = task_processor_config.adapter_class()(task_processor_config)
                adapter.initialize(consumer_concurrency=_concurrency())
                for method, name in handlers.items():
                    adapter.register_task_handle(_called(getattr(self, method), loop), name)
                await asyncio.to_thread(adapter.start_consumer)
                self._shoal_adapter = adapter

            def __del__(self) -> None:
                adapter = self.__dict__.pop("_shoal_adapter", None)
                if adapter is not None:
                    adapter.stop_consumer(_STOP_SECONDS)
                before = getattr(super(), "__del__", None)
                if before is not None:
                    before()

        return Consumer

    return wrap


def _concurrency() -> int:
    context = replica_context_or_none()
    return 1 if context is None else context.max_ongoing_requests


def _called(method: Callable[..., Any], loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
    """A method as a consumer's thread calls it: one that is `async` runs in the replica's event loop."""
    if not inspect.iscoroutinefunction(method):
        return method

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(method(*args, **kwargs), loop).result()

    return run
