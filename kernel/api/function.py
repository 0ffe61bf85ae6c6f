"""Remote functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from shoal.api.graphs import graph_library
from shoal.api.options import check_options
from shoal.api.session import engine_or_start
from shoal.api.signature import Arguments
from shoal.api.templates import short_name, task_template
from shoal.interfaces.current import current
from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator
from shoal.spec.calls import TaskTemplate

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from shoal.api.options import TaskOptions

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")


class RunCoroutine:
    """Makes a plain function of a coroutine function: a task waits for its result in a loop of its own."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function: Callable[..., Any] = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        import asyncio

        return asyncio.run(self.function(*args, **kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        return RunCoroutine, (self.function,)


class RemoteFunction(Generic[P, R]):
    """A function that runs as a task. Made by `@shoal.remote`; call it with `.remote(...)`."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._options = dict(options)
        self._arguments = Arguments(function)
        self._template = task_template(function, _runnable(function), options)
        # Looked at on every call.
        self._least, self._most = self._arguments.least, self._arguments.most

    if TYPE_CHECKING:
        # A reference may stand for any argument; where one does, the rest of the call is not checked statically.
        @overload
        def remote(self, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R]: ...
        @overload
        def remote(self, first: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
        @overload
        def remote(
            self, first: Any, second: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R]: ...
        @overload
        def remote(
            self, first: Any, second: Any, third: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R]: ...

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submit one call and return the reference to its result at once.

        With `num_returns` other than 1 it returns None (0), a list of references, or a generator of them ("streaming",
        the default for generator functions). An argument that is a reference arrives as its value.
        Raises TypeError if the arguments do not fit, NotSerializable if one cannot be pickled.

        Example: `shoal.get(f.remote(1))`
        """
        engine = current.engine
        if engine is None:
            engine = engine_or_start()
        if kwargs or not self._least <= len(args) <= self._most:
            self._arguments.check(args, kwargs, self._template.name)
        if current.follower is not None:
            return current.follower.submit(engine, self._template, args, kwargs)
        return engine.submit(self._template, args, kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return a node of a graph that stands for this call; arguments may be nodes. Nothing runs yet.

        Example: `f.bind(g.bind(1)).execute()` returns the reference to `f(g(1))`
        """
        return graph_library().function_node(self, args, kwargs, self._options)

    def options(self, **options: Unpack[TaskOptions]) -> RemoteFunction[P, R]:
        """Return the same function with other options. Raises ConfigError for one that is unknown or wrong.

        Example: `f.options(num_cpus=2, name="big").remote(1)`
        """
        return type(self)(self._function, {**self._options, **check_options(options, "task")})

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = short_name(self._function)
        raise TypeError(
            f"a remote function cannot be called directly: instead of {name}(...) write {name}.remote(...), "
            f"which returns a reference. The plain function is {name}.__wrapped__."
        )

    def __repr__(self) -> str:
        return f"RemoteFunction({self.__module__}.{short_name(self._function)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._function, self._options)

    @property
    def template(self) -> TaskTemplate:
        """What engines are given with each call."""
        return self._template


class RemoteGenerator(RemoteFunction[P, Y]):
    """A generator function that runs as a task: its results can be read while it runs."""

    if TYPE_CHECKING:

        def remote(self, *args: Any, **kwargs: Any) -> ObjectRefGenerator[Y]: ...  # type: ignore[override]

        def options(self, **options: Unpack[TaskOptions]) -> Any: ...


def _runnable(function: Callable[..., Any]) -> Callable[..., Any]:
    return RunCoroutine(function) if inspect.iscoroutinefunction(function) else function
