"""The decorators `remote` and `method`."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from shoal.api.actor_class import ActorClass
from shoal.api.function import RemoteFunction, RemoteGenerator
from shoal.api.options import check_options
from shoal.api.templates import METHOD_OPTIONS, is_generator
from shoal.errors import ConfigError, describe

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from shoal.api.options import ActorOptions, AnyOptions, MethodOptions, TaskOptions

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class TaskDecorator(Protocol):
    """What `remote(option=...)` returns for options of tasks."""

    @overload
    def __call__(self, target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: Callable[P, Coroutine[Any, Any, R]], /) -> RemoteFunction[P, R]: ...
    @overload
    def __call__(
        self, target: Callable[P, Generator[Y, Any, Any] | AsyncGenerator[Y, Any]], /
    ) -> RemoteGenerator[P, Y]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> RemoteFunction[P, R]: ...


class ActorDecorator(Protocol):
    """What `remote(option=...)` returns for options that only actors have."""

    def __call__(self, target: type[T], /) -> ActorClass[T]: ...


@overload
def remote(target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[P, Coroutine[Any, Any, R]], /) -> RemoteFunction[P, R]: ...
@overload
def remote(
    target: Callable[P, Generator[Y, Any, Any] | AsyncGenerator[Y, Any] | Iterator[Y] | AsyncIterator[Y]], /
) -> RemoteGenerator[P, Y]: ...
@overload
def remote(target: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(**options: Unpack[TaskOptions]) -> TaskDecorator: ...
@overload
def remote(**options: Unpack[ActorOptions]) -> ActorDecorator: ...
def remote(*targets: Any, **options: Unpack[AnyOptions]) -> Any:
    """Make a function run as tasks, or a class's instances actors.

    Used as `@remote` or `@remote(num_cpus=2, ...)`. A coroutine function runs in an event loop of its own; a generator
    function streams its results. Raises ConfigError for an option that is unknown or wrong, TypeError for anything but
    a function or class.

    Example:
        @shoal.remote(num_cpus=2)
        def square(x: int) -> int:
            return x * x

        shoal.get(square.remote(3))  # 9
    """
    if not targets:
        return lambda target: _make(target, dict(options))
    if options or len(targets) > 1:
        raise TypeError("remote takes one function or class, or options by name: @remote(num_cpus=2)")
    return _make(targets[0], {})


def _make(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, (RemoteFunction, ActorClass)):
        raise TypeError(f"{target!r} is remote already; change its options with .options(...)")
    if isinstance(target, type):
        return ActorClass(target, check_options(options, "actor"))
    if isinstance(target, (staticmethod, classmethod)) or not callable(target):
        raise TypeError(f"remote is for a function or a class, not {describe(target)}")
    checked = check_options(options, "task")
    if is_generator(target) and checked.get("num_returns") in (None, "streaming"):
        return RemoteGenerator(target, checked)
    return RemoteFunction(target, checked)


def method(**options: Unpack[MethodOptions]) -> Callable[[F], F]:
    """Give a method of an actor class its options.

    Takes num_returns, concurrency_group, max_task_retries, retry_exceptions. Raises ConfigError for others.

    Example:
        @shoal.remote
        class Pair:
            @shoal.method(num_returns=2)
            def both(self):
                return 1, 2
    """
    checked = check_options(options, "method")
    if not checked:
        raise ConfigError("method() needs at least one option: @method(num_returns=2)")

    def keep(function: F) -> F:
        if not inspect.isfunction(function):
            raise TypeError(f"method is for a function in a class, not {describe(function)}")
        setattr(function, METHOD_OPTIONS, checked)
        return function

    return keep
