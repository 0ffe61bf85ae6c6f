"""Local testing mode: an application in the calling process, without a session, HTTP or replicas."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import attrs

from shoal.errors import GetTimeout
from shoal.serve.context import RequestContext, request_context
from shoal.serve.deployment import Application
from shoal.serve.exceptions import RequestCancelledError
from shoal.serve.handle import DeploymentHandle, HandleOptions
from shoal.serve.running import in_thread, kind_of

_END = object()


class _Loop:
    """An event loop in a thread, for all applications of this process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="shoal-serve-local", daemon=True).start()

    def run(self, work: Any) -> concurrent.futures.Future[Any]:
        """Run a coroutine there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)


_loops: list[_Loop] = []


def _loop() -> _Loop:
    if not _loops:
        _loops.append(_Loop())
    return _loops[0]


class LocalResponse:
    """The result of a call in local testing mode; as `DeploymentResponse`."""

    def __init__(self, request_id: str, future: concurrent.futures.Future[Any]) -> None:
        self.request_id = request_id
        self._future = future

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the result. Raises what the method raised, GetTimeout, RequestCancelledError."""
        try:
            return self._future.result(timeout_s)
        except concurrent.futures.CancelledError:
            raise RequestCancelledError(self.request_id) from None
        except concurrent.futures.TimeoutError as error:
            if self._future.done():
                raise
            raise GetTimeout(f"request {self.request_id} runs on after {timeout_s} s") from error

    def cancel(self) -> None:
        """Cancel the request."""
        self._future.cancel()

    def cancelled(self) -> bool:
        """Tell whether it was cancelled."""
        return self._future.cancelled()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self._future).__await__()


class LocalGenerator(Iterator[Any], AsyncIterator[Any]):
    """What a generator yields in local testing mode; as `DeploymentResponseGenerator`."""

    def __init__(self, request_id: str, make: Callable[[], Any]) -> None:
        self.request_id = request_id
        self._make = make
        self._iterator: Any = None

    async def _next(self) -> Any:
        if self._iterator is None:
            made = self._make()
            self._iterator = aiter(made if hasattr(made, "__aiter__") else in_thread(made))
        return await anext(self._iterator, _END)

    def __next__(self) -> Any:
        value = _loop().run(self._next()).result()
        if value is _END:
            raise StopIteration
        return value

    def __aiter__(self) -> LocalGenerator:
        return self

    async def __anext__(self) -> Any:
        value = await asyncio.wrap_future(_loop().run(self._next()))
        if value is _END:
            raise StopAsyncIteration
        return value


class LocalHandle(DeploymentHandle):
    """A handle of a deployment in this process."""

    def __init__(
        self, deployment_name: str, app_name: str, instance: Any, _options: HandleOptions | None = None
    ) -> None:
        super().__init__(deployment_name, app_name, _options)
        self._instance = instance

    def _with(self, **changes: Any) -> DeploymentHandle:
        options = attrs.evolve(self._options, **changes)
        return LocalHandle(self._name, self._app, self._instance, options)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method in the loop of local testing mode."""
        name = self._options.method_name
        function = (
            self._instance
            if name == "__call__" or inspect.isfunction(self._instance)
            else getattr(self._instance, name)
        )
        request_id = uuid.uuid4().hex
        context = RequestContext(
            request_id=request_id,
            app_name=self._app,
            multiplexed_model_id=self._options.multiplexed_model_id,
        )
        if self._options.stream:
            return LocalGenerator(request_id, lambda: function(*args, **kwargs))
        return LocalResponse(request_id, _loop().run(_call(function, args, kwargs, context)))

    def __reduce__(self) -> Any:
        raise TypeError("a handle of local testing mode belongs to its process")


async def _call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: RequestContext
) -> Any:
    request_context.set(context)
    args = tuple([await each if isinstance(each, LocalResponse) else each for each in args])
    kwargs = {key: await each if isinstance(each, LocalResponse) else each for key, each in kwargs.items()}
    value = function(*args, **kwargs) if kind_of(function) != "sync" else None
    if value is None:
        value = await asyncio.to_thread(function, *args, **kwargs)
    return await value if inspect.isawaitable(value) else value


def run_locally(app: Application, name: str) -> LocalHandle:
    """Make an application's objects here and return a handle of the first; see `run`.

    Example: `run_locally(Model.bind(), "default").remote("text").result()`
    """
    made: dict[int, LocalHandle] = {}

    def visit(value: Any) -> Any:
        if isinstance(value, Application):
            if id(value) not in made:
                deployment = value._bound_deployment
                target = deployment.func_or_class
                instance: Any = target
                if inspect.isclass(target):
                    args = [visit(each) for each in value._args]
                    kwargs = {key: visit(each) for key, each in value._kwargs.items()}
                    instance = target(*args, **kwargs)
                    if deployment.user_config is not None:
                        result = instance.reconfigure(deployment.user_config)
                        if inspect.isawaitable(result):
                            _loop().run(_wait(result)).result()
                made[id(value)] = LocalHandle(deployment.name, name, instance)
            return made[id(value)]
        if type(value) in (list, tuple, set):
            return type(value)(visit(each) for each in value)
        if type(value) is dict:
            return {key: visit(each) for key, each in value.items()}
        return value

    handle: LocalHandle = visit(app)
    return handle


async def _wait(value: Any) -> Any:
    return await value
