"""A replica: the process that runs one copy of a deployment; an async actor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import inspect
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import cloudpickle

from shoal.errors import describe
from shoal.serve.context import (
    ReplicaContext,
    ReplicaID,
    ReplicaRank,
    RequestContext,
    request_context,
    set_replica_context,
)
from shoal.serve.deployment import DeploymentOptions
from shoal.serve.exceptions import BackPressureError, ServeError
from shoal.serve.exchange import Exchanges
from shoal.serve.grpc_util import RayServegRPCContext
from shoal.serve.ingresses.base import Door
from shoal.serve.ingresses.loading import make_ingress
from shoal.serve.instruments import ReplicaInstruments
from shoal.serve.logs import ACCESS
from shoal.serve.logs import set_up as set_up_logs
from shoal.serve.messages import DeploymentSpec, ReplicaSetup
from shoal.serve.rpc import Inboxes, as_bytes, failure, named
from shoal.serve.running import in_thread, kind_of
from shoal.serve.scopes import unpack
from shoal.serve.tracing import set_up as set_up_spans
from shoal.serve.tracing import tracer

Meta = tuple[str, str, str, str, str]  # method, request, route, model, traceparent

_NO_SPAN = contextlib.nullcontext()


class Replica:
    """Runs the user's code. Methods without `async` run in threads, so that they hold nobody up."""

    def __init__(self, replica_id: str, spec: DeploymentSpec) -> None:
        self.replica_id = ReplicaID.from_full_id_str(replica_id)
        self._spec = spec
        self._max = spec.options.max_ongoing_requests
        self._room = asyncio.Semaphore(self._max)
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._methods: dict[str, tuple[Callable[..., Any], str]] = {}
        self._user: Any = None
        self.ongoing = 0  # that run or wait
        self.world_size = 1
        self.rank = ReplicaRank()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = asyncio.Event()
        self._exchanges: Exchanges | None = None
        self._door: Door | None = None
        self._inboxes = Inboxes()
        self._ready = False
        self._access = False
        self._tracer: Any = None
        self._instruments = ReplicaInstruments(self.replica_id)

    # Life

    async def place(self) -> tuple[int, str, bool]:
        """Return process, node and whether the replica can serve: who gets an answer knows that there was room."""
        import shoal

        return os.getpid(), shoal.get_runtime_context().get_node_id(), self._ready

    async def initialize(self, user_config: Any, setup: ReplicaSetup) -> None:
        """Run the constructor and `reconfigure`. What they raise goes to the controller."""
        name = self.replica_id
        if setup.logging is not None:
            facts = {
                "application": name.deployment_id.app_name,
                "deployment": name.deployment_id.name,
                "replica": name.unique_id,
            }
            set_up_logs(setup.logging, "replica", "_".join(facts.values()), facts)
            self._access = setup.logging.enable_access_log
        set_up_spans(setup.tracing)
        self._tracer = tracer()
        self.rank = ReplicaRank(setup.rank)
        set_replica_context(self._context(None, setup))
        target, args, kwargs = cloudpickle.loads(self._spec.code)
        self._user = await self._construct(target, args, kwargs) if inspect.isclass(target) else target
        set_replica_context(self._context(self._user, setup))
        self._exchanges = Exchanges(self._user, self._spec.kind, self._run_sync)
        await self._exchanges.start()
        await self.reconfigure(user_config)
        if setup.http is not None:
            self._door = await make_ingress(setup.http.ingress).open(self, setup.http)
        self._ready = True

    def _context(self, user: Any, setup: ReplicaSetup) -> ReplicaContext:
        return ReplicaContext(
            replica_id=self.replica_id,
            servable_object=user,
            code_version=self._spec.version,
            gang_context=setup.seat,
            state=self,
        )

    async def _construct(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = await self._run_sync(target, args, kwargs)
        start = getattr(type(value), "__serve_start__", None)  # a constructor that can wait
        if start is not None:
            await start(value)
        return value

    @property
    def max_ongoing(self) -> int:
        """How many requests may be under way at once."""
        return self._max

    async def reconfigure(self, user_config: Any, max_ongoing: int | None = None) -> None:
        """Have the user's `reconfigure` take its configuration, if there is one."""
        if max_ongoing is not None and max_ongoing != self._max:
            more = max_ongoing - self._max
            self._max = max_ongoing
            for _ in range(more):
                self._room.release()
            for _ in range(-more):  # as requests end
                await self._room.acquire()
        if user_config is None:
            return
        method = getattr(self._user, "reconfigure", None)
        if method is None or inspect.isfunction(self._user):
            raise ServeError(
                f"deployment {self.replica_id.deployment_id} has a user_config, and no method reconfigure(user_config)"
            )
        await self._run_any(method, (user_config,), {})

    async def check_health(self) -> dict[str, Any]:
        """Run the user's `check_health`, and return how the replica is."""
        method = getattr(self._user, "check_health", None)
        if method is not None:
            await self._run_any(method, (), {})
        return self.load()

    def load(self) -> dict[str, Any]:
        """Return what the replica has to do, and what it has loaded."""
        return {"ongoing": self.ongoing, "models": self._models(), **self._instruments.numbers()}

    async def told(self) -> dict[str, Any]:
        """Return `load()` to whoever asks from outside, with what `record_autoscaling_stats()` says."""
        method = getattr(self._user, "record_autoscaling_stats", None)
        if method is None:
            return self.load()
        return {**self.load(), "recorded": dict(await self._run_any(method, (), {}))}

    async def routing_stats(self) -> dict[str, Any]:
        """Return what routers are to know: of the user's `record_routing_stats()`, nothing without it."""
        method = getattr(self._user, "record_routing_stats", None)
        return {} if method is None else dict(await self._run_any(method, (), {}))

    def _models(self) -> list[str]:
        from shoal.serve.multiplex import loaded_models

        return loaded_models()

    async def set_world(self, size: int, rank: ReplicaRank) -> None:
        """Take note of how many replicas there are to be, and of this one's place among them."""
        self.world_size = size
        self.rank = rank

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing runs, at most so long. Returns whether that came to be."""
        end = time.monotonic() + timeout_s
        if self._door is not None:
            await self._door.close(timeout_s)
        try:
            await asyncio.wait_for(self._idle.wait(), max(0.0, end - time.monotonic()))
        except asyncio.TimeoutError:
            return False
        return True

    async def finish(self) -> None:
        """Run what the user's object has for its end: `__del__`, or `shutdown` of its ASGI application."""
        self._ended.set()
        if self._exchanges is not None:
            await self._exchanges.close()
        user, self._user = self._user, None
        finalizer = getattr(type(user), "__del__", None)
        if finalizer is not None:
            await self._run_any(functools.partial(finalizer, user), (), {})

    async def until_end(self) -> None:
        """Return when the replica ends as it was told; raises in the caller as soon as the process dies."""
        await self._ended.wait()

    # Requests

    async def call(self, meta: Meta, /, *args: Any, **kwargs: Any) -> Any:
        """Run a method for a handle and return its result."""
        started = self._begin(meta)
        failed = True
        try:
            async with self._room, self._span(meta) if self._tracer else _NO_SPAN:
                function, kind = self._method(meta[0])
                if kind == "async":
                    value = await function(*args, **kwargs)
                elif kind == "sync":
                    value = await self._run_sync(function, args, kwargs)
                else:
                    raise TypeError(
                        f"{self.replica_id.deployment_id}: {meta[0]} is a generator; call it with "
                        "handle.options(stream=True)"
                    )
                if inspect.isawaitable(value):
                    value = await value
                failed = False
                return value
        finally:
            self._end(started, failed)

    async def stream(self, meta: Meta, /, *args: Any, **kwargs: Any) -> Any:
        """Run a generator for a handle and yield what it yields."""
        started = self._begin(meta)
        failed = True
        try:
            async with self._room, self._span(meta) if self._tracer else _NO_SPAN:
                function, _ = self._method(meta[0])
                made = function(*args, **kwargs)
                if inspect.isawaitable(made):
                    made = await made
                if hasattr(made, "__aiter__"):
                    async for value in made:
                        yield value
                elif inspect.isgenerator(made):
                    async for value in in_thread(made):
                        yield value
                else:
                    raise TypeError(
                        f"{self.replica_id.deployment_id}: {meta[0]} returned {describe(made)}; with "
                        "handle.options(stream=True) it must be a generator"
                    )
                failed = False
        finally:
            self._end(started, failed)

    async def rpc(self, meta: Meta, context: RayServegRPCContext, message: Any, inbox: str) -> Any:
        """Answer a gRPC call with one message: returns its bytes, and the context with what the method has set.

        With `inbox` the client sends many messages, which come by `rpc_push`.
        """
        started = self._begin(meta)
        failed = True
        given = self._inboxes.open(inbox) if inbox else message
        try:
            async with self._room, self._span(meta) if self._tracer else _NO_SPAN:
                function, kind = self._method(meta[0])
                if kind == "generator":
                    raise TypeError(
                        f"{meta[0]} is a generator, but its proto says that it returns one message"
                    )
                run = functools.partial(function, given, **named(function, context))
                value = await self._run_any(run, (), {})
                failed = False
                return as_bytes(value, meta[0]), context
        except Exception as error:  # of the user's method
            raise failure(error, context) from error
        finally:
            self._inboxes.close(inbox)
            self._end(started, failed)

    async def rpc_stream(self, meta: Meta, context: RayServegRPCContext, message: Any, inbox: str) -> Any:
        """Answer a gRPC call with many messages: yields the bytes of each, and the context at last."""
        started = self._begin(meta)
        failed = True
        given = self._inboxes.open(inbox) if inbox else message
        try:
            async with self._room, self._span(meta) if self._tracer else _NO_SPAN:
                function, _ = self._method(meta[0])
                made = function(given, **named(function, context))
                if inspect.isawaitable(made):
                    made = await made
                if not hasattr(made, "__aiter__"):
                    if not inspect.isgenerator(made):
                        raise TypeError(
                            f"{meta[0]} must be a generator, as its proto says, not {describe(made)}"
                        )
                    made = in_thread(made)
                async for value in made:
                    yield as_bytes(value, meta[0])
                failed = False
                yield context
        except Exception as error:  # of the user's method
            raise failure(error, context) from error
        finally:
            self._inboxes.close(inbox)
            self._end(started, failed)

    async def rpc_push(self, inbox: str, message: Any, over: bool) -> bool:
        """Hand on what a gRPC client has sent. False: nobody reads any more."""
        return await self._inboxes.push(inbox, message, over)

    async def http(self, meta: Meta, packed: bytes, body: bytes) -> Any:
        """Answer an HTTP request: with all of it, or with its beginning and the number of a stream to pull."""
        started = self._begin(meta)
        exchanges = self._exchanges
        assert exchanges is not None, "requests come after initialize"
        kept = False
        failed = True
        try:
            await self._room.acquire()
            try:
                if self._tracer is None:
                    head = await exchanges.answer(meta, unpack(packed), body)
                else:
                    async with self._span(meta):
                        head = await exchanges.answer(meta, unpack(packed), body)
                failed = head.status >= 500
                if head.stream is not None:
                    kept = True
                    exchanges.when_over(head.stream, functools.partial(self._over, started))
                return head.status, head.headers, head.body, head.stream, self.ongoing
            finally:
                if not kept:
                    self._room.release()
        finally:
            if not kept:
                self._end(started, failed)

    async def serve(
        self, meta: Meta, scope: dict[str, Any], body: bytes | None, receive: Any, send: Any
    ) -> None:
        """Answer a request that came to this process by a door of its own; for its `Ingress`. A websocket has no
        `body`, and only it has `receive`.

        Raises BackPressureError if `max_queued_requests` wait already, and what the user's code raises.
        """
        options = self.options
        queued = self.ongoing - self._max
        if self._room.locked() and 0 <= options.max_queued_requests <= queued:
            told = options.backpressure_config
            raise BackPressureError(queued, options.max_queued_requests, told.status_code, told.retry_after_s)
        started = self._begin(meta)
        exchanges = self._exchanges
        assert exchanges is not None, "requests come after initialize"
        failed = True
        try:
            async with self._room, self._span(meta) if self._tracer else _NO_SPAN:
                await exchanges.serve(scope, body, receive, send)
                failed = False
        finally:
            self._end(started, failed)

    def _over(self, started: float, failed: bool) -> None:
        self._room.release()
        self._end(started, failed)

    async def open(self, meta: Meta, packed: bytes) -> Any:
        """Begin a websocket: returns the number of its stream."""
        started = self._begin(meta)
        exchanges = self._exchanges
        assert exchanges is not None, "requests come after initialize"
        await self._room.acquire()
        number = exchanges.open(meta, unpack(packed))
        exchanges.when_over(number, functools.partial(self._over, started))
        return number

    async def pull(self, stream: int) -> Any:
        """Return the next messages of a stream; the last batch ends with None."""
        assert self._exchanges is not None, "requests come after initialize"
        return await self._exchanges.pull(stream)

    async def push(self, stream: int, messages: list[dict[str, Any]]) -> None:
        """Hand on what the client has sent."""
        assert self._exchanges is not None, "requests come after initialize"
        await self._exchanges.push(stream, messages)

    async def abandon(self, stream: int) -> None:
        """Cancel what makes a stream: its client has gone."""
        if self._exchanges is not None:
            self._exchanges.abandon(stream)

    # Inside

    @property
    def options(self) -> DeploymentOptions:
        """How the deployment is set up."""
        return self._spec.options

    @contextlib.asynccontextmanager
    async def _span(self, meta: Meta) -> AsyncIterator[None]:
        """Be inside the span of a request."""
        where = self.replica_id
        facts = {
            "application": where.deployment_id.app_name,
            "deployment": where.deployment_id.name,
            "replica": where.unique_id,
            "request_id": meta[1],
        }
        with self._tracer.span(f"replica {where.deployment_id.name}.{meta[0]}", meta[4], facts) as trace:
            request_context.set(attrs.evolve(request_context.get(), trace=trace))
            yield

    def _begin(self, meta: Meta) -> float:
        self.ongoing += 1
        self._idle.clear()
        request_context.set(
            RequestContext(
                request_id=meta[1],
                route=meta[2],
                app_name=self.replica_id.deployment_id.app_name,
                multiplexed_model_id=meta[3],
                trace=meta[4],
            )
        )
        return time.perf_counter()

    def _end(self, started: float, failed: bool) -> None:
        self.ongoing -= 1
        seconds = time.perf_counter() - started
        self._instruments.finished(seconds, failed)
        if self._access:
            ACCESS.info(
                "%s %s %.1fms", self.replica_id.deployment_id.name, "ERROR" if failed else "OK", seconds * 1e3
            )
        if not self.ongoing:
            self._idle.set()

    def _method(self, name: str) -> tuple[Callable[..., Any], str]:
        found = self._methods.get(name)
        if found is None:
            user = self._user
            if name == "__call__" or inspect.isfunction(user):
                method = user
                if not callable(method):
                    raise AttributeError(f"{self.replica_id.deployment_id} has no __call__: name a method")
            else:
                method = getattr(user, name, None)
                if method is None or name.startswith("_"):
                    public = sorted(each for each in dir(user) if not each.startswith("_"))
                    raise AttributeError(
                        f"{self.replica_id.deployment_id} has no method {name!r}; it has: {', '.join(public)}"
                    )
            found = self._methods[name] = (method, kind_of(method))
        return found

    async def _run_any(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if kind_of(function) == "async":
            return await function(*args, **kwargs)
        value = await self._run_sync(function, args, kwargs)
        return await value if inspect.isawaitable(value) else value

    async def _run_sync(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(
                min(self._max, 256) + 4, f"replica-{self.replica_id.unique_id}"
            )
        run = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except StopIteration as error:  # no future can hold one
            raise RuntimeError("StopIteration was raised") from error
