"""gRPC at a proxy: calls of users' services become calls of the deployments' methods of the same names."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc

from shoal.errors import ConfigError, ShoalError, TaskCancelled
from shoal.serve.callers import callers
from shoal.serve.dispatch import Call
from shoal.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestCancelledError,
    gRPCStatusError,
)
from shoal.serve.grpc_options import gRPCOptions
from shoal.serve.grpc_util import RayServegRPCContext
from shoal.serve.handle import DeploymentResponse, DeploymentResponseGenerator
from shoal.serve.messages import RouteSeen
from shoal.serve.proxy.grpc_own import OwnServices, add_own_services
from shoal.serve.proxy.routes import Routes, found_of
from shoal.serve.routers.base import Asked
from shoal.serve.tracing import tracer

_log = logging.getLogger("shoal.serve")
_access = logging.getLogger("shoal.serve.access")
_STOP_SECONDS = 10.0

Service = Any  # of grpcio: RpcMethodHandler, HandlerCallDetails


class _Anything:
    """Stands for a servicer: whatever method is asked for, there is something, which is never called."""

    def __getattr__(self, name: str) -> Any:
        return object()


class _Collector:
    """Stands for a server while generated functions add their services to it."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []
        self.names: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Take note of services; what grpcio-tools generates calls this."""
        for each in handlers:
            self.handlers.append(each)
            self.names.append(each.service_name())

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """The same services again, for servers that look methods up by name: generic handlers have them already."""


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Users' services, each method with what asks replicas in the place of the servicer's."""

    def __init__(self, collected: _Collector, calls: _Calls) -> None:
        self._collected = collected
        self._calls = calls

    def service(self, handler_call_details: Service) -> Service | None:
        """Return what answers a method, None for one of no service here."""
        for each in self._collected.handlers:
            found = each.service(handler_call_details)
            if found is not None:
                return self._calls.handler(handler_call_details.method, found)
        return None


class GrpcServer:
    """The server of one proxy."""

    def __init__(
        self, options: gRPCOptions, routes: Callable[[], Awaitable[Routes]], access_log: bool = True
    ) -> None:
        self._options = options
        self._routes = routes
        self._access_log = access_log
        self._server: Any = None
        self._own: OwnServices | None = None
        self.port = 0

    async def start(self) -> None:
        """Begin to serve. Raises OSError if the port is taken, ConfigError for services that cannot be had."""
        options = self._options
        collected = _Collector()
        for path, add in zip(
            options.grpc_servicer_functions, options.grpc_servicer_func_callable, strict=True
        ):
            try:
                add(_Anything(), collected)
            except Exception as error:  # it may be anything that the user named
                raise ConfigError(
                    f"grpc_servicer_functions: {path} is no add_…Servicer_to_server of grpcio-tools: {error!r}"
                ) from error
        calls = _Calls(options, self._routes, self._access_log)
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=options.max_concurrent_rpcs,
        )
        server.add_generic_rpc_handlers((_Services(collected, calls),))
        self._own = add_own_services(server, self._routes, collected.names, options.enable_reflection)
        host = f"[{options.host}]" if ":" in options.host else options.host
        where = f"{host}:{options.port}"
        try:
            credentials = _credentials(options)
            if credentials is None:
                self.port = server.add_insecure_port(where)
            else:
                self.port = server.add_secure_port(where, credentials)
        except RuntimeError as error:
            raise OSError(
                f"cannot listen for gRPC at {where}: {error}. Choose another with "
                "serve.start(grpc_options={'port': …}); 0 takes any that is free"
            ) from None
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Close the port, finish the calls that run, within a bound, and return."""
        if self._own is not None:
            await self._own.leave()
        if self._server is not None:
            await self._server.stop(_STOP_SECONDS)


def _credentials(options: gRPCOptions) -> Any:
    if options.ssl_certfile is None or options.ssl_keyfile is None:
        return None
    pair = Path(options.ssl_keyfile).read_bytes(), Path(options.ssl_certfile).read_bytes()
    roots = Path(options.ssl_ca_certs).read_bytes() if options.ssl_ca_certs else None
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)


class _Calls:
    """Makes what answers the methods of users' services."""

    def __init__(
        self, options: gRPCOptions, routes: Callable[[], Awaitable[Routes]], access_log: bool
    ) -> None:
        self._timeout = options.request_timeout_s
        self._routes = routes
        self._access_log = access_log

    def handler(self, method: str, found: Service) -> Service:
        """Return the handler for a method: it reads messages as the generated one does, and asks replicas."""
        name = method.rpartition("/")[2]
        sends_many, gets_many = found.request_streaming, found.response_streaming

        async def one(request: Any, context: Any) -> bytes:
            rpc = _Rpc(name, context, sends_many)
            async with self._around(rpc):
                return await rpc.one(request)
            raise AssertionError("errors end the call")

        async def many(request: Any, context: Any) -> AsyncIterator[bytes]:
            rpc = _Rpc(name, context, sends_many)
            async with self._around(rpc):
                async for each in rpc.many(request):
                    yield each

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[sends_many, gets_many]
        return make(many if gets_many else one, request_deserializer=found.request_deserializer)

    @contextlib.asynccontextmanager
    async def _around(self, rpc: _Rpc) -> AsyncIterator[None]:
        """Find where a call goes, bound its time, and make what goes wrong the call's status."""
        code = grpc.StatusCode.OK
        try:
            await rpc.find(await self._routes(), self._timeout)
            with rpc.span():
                yield
            rpc.say()
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # the user's code may raise anything
            code, details, trailing = _status_of(error, rpc)
            await rpc.context.abort(code, details, (*trailing, ("request_id", rpc.request_id)))
        finally:
            await rpc.close()
            if self._access_log and _access.isEnabledFor(logging.INFO):
                _access.info(
                    "%s GRPC %s %s %s %.1fms %s",
                    rpc.context.peer(),
                    rpc.method,
                    rpc.app or "-",
                    code.name,
                    (time.perf_counter() - rpc.began) * 1e3,
                    rpc.request_id,
                )


class _Refused(Exception):
    """The call cannot be passed on."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


def _status_of(error: Exception, rpc: _Rpc) -> tuple[grpc.StatusCode, str, tuple[Any, ...]]:
    """Return code, text and trailing metadata for what went wrong. What users' code raised is told in the log."""
    codes = grpc.StatusCode
    match error:
        case _Refused():
            return error.code, error.details, ()
        case gRPCStatusError():
            said = error.grpc_details
            text = str(error.original_exception) if said is None else said
            return error.grpc_code or codes.UNKNOWN, text, tuple(error.trailing_metadata)
        case asyncio.TimeoutError():
            return codes.DEADLINE_EXCEEDED, "the call took longer than request_timeout_s", ()
        case BackPressureError():
            return codes.RESOURCE_EXHAUSTED, str(error), ()
        case DeploymentUnavailableError():
            return codes.UNAVAILABLE, str(error), ()
        case ReplicaUnavailableError():
            _log.warning("request %s: a replica of %s died: %s", rpc.request_id, rpc.key, error)
            text = "the replica that had the request died; it is not known how far it came"
            return codes.UNAVAILABLE, text, ()
        case RequestCancelledError() | TaskCancelled():
            return codes.CANCELLED, "the request was cancelled at its replica", ()
        case AttributeError() if "has no method" in str(error):
            return codes.UNIMPLEMENTED, f"the deployment {rpc.key} has no method {rpc.method!r}", ()
        case ShoalError():
            _log.error("request %s to %s failed: %r", rpc.request_id, rpc.key, error)
        case _:
            _log.error("request %s: %s raised %r", rpc.request_id, rpc.key, error)
    return codes.INTERNAL, f"{rpc.method} failed: the log of the proxy has more", ()


class _Rpc:
    """One call on its way."""

    def __init__(self, method: str, context: Any, sends_many: bool) -> None:
        self.method = method
        self.context = context
        self.began = time.perf_counter()
        self.said = RayServegRPCContext(context)
        self.request_id = self.said.request_id()[:128] or os.urandom(16).hex()
        self.said._request_id = self.request_id
        self.app = self.key = ""
        self._inbox = uuid.uuid4().hex if sends_many else ""
        self._feeder: asyncio.Task[None] | None = None
        self._end: float | None = None
        self._trace = self.said.traceparent()

    async def find(self, routes: Routes, timeout: float | None) -> None:
        """Find the application's deployment. Raises _Refused if there is none."""
        self._end = None if timeout is None else time.monotonic() + timeout
        wanted = self.said.application()
        found = [each for each in routes.all if not wanted or each.app == wanted]
        if len(found) != 1:
            names = ", ".join(sorted(each.app for each in routes.all)) or "none"
            what = f"there is no application {wanted!r}" if wanted else "the metadata names no application"
            raise _Refused(grpc.StatusCode.NOT_FOUND, f"{what}; those with a route are: {names}")
        one: RouteSeen = found[0]
        sent = [
            (name.encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in self.said.invocation_metadata()
        ]
        place = found_of(one).pick(sent)
        self.app, self.key = place.app, place.key

    @contextlib.contextmanager
    def span(self) -> Any:
        """Be inside the span of the call, if there are spans."""
        spans = tracer()
        if spans is None:
            yield
            return
        facts = {"application": self.app, "method": self.method, "request_id": self.request_id}
        with spans.span(f"proxy gRPC {self.method}", self._trace, facts) as self._trace:
            yield

    def _call(self, kind: str, request: Any) -> Call:
        model = self.said.multiplexed_model_id()
        meta = (self.method, self.request_id, "", model, self._trace)
        message = None if self._inbox else request
        asked = Asked(self.method, (message,), None, model, self.said._sent("session_id"))
        args = (self.said, message, self._inbox)
        return Call(kind, meta, args, {}, asked, kind == "rpc_stream")

    async def _in_time(self, work: Awaitable[Any]) -> Any:
        left = None if self._end is None else max(0.0, self._end - time.monotonic())
        return await asyncio.wait_for(work, left)

    async def one(self, request: Any) -> bytes:
        """Return the bytes of the one message that is the answer."""
        dispatcher = callers().dispatcher(self.key)
        call = self._call("rpc", request)
        dispatcher.start(call)
        response = DeploymentResponse(dispatcher, call)
        self._feed(request, response, call)
        answer: bytes
        answer, self.said = await self._in_time(response._wait())
        return answer

    async def many(self, request: Any) -> AsyncIterator[bytes]:
        """Yield the bytes of each message of the answer."""
        dispatcher = callers().dispatcher(self.key)
        call = self._call("rpc_stream", request)
        dispatcher.start(call)
        response = DeploymentResponseGenerator(dispatcher, call)
        self._feed(request, response, call)
        try:
            while True:
                try:
                    piece = await self._in_time(response.__anext__())
                except StopAsyncIteration:
                    return
                if isinstance(piece, RayServegRPCContext):
                    self.said = piece
                else:
                    yield piece
        finally:
            response.cancel()  # nothing after the end

    def _feed(self, request: Any, response: Any, call: Call) -> None:
        """Send what the client sends on to the replica that has the call, one message at a time."""
        if not self._inbox:
            return

        async def feed() -> None:
            await response._ref_soon()
            assert call.candidate is not None, "it was sent"
            push = call.candidate.actor.rpc_push
            async for message in request:
                if not await push.remote(self._inbox, message, False):
                    return
            await push.remote(self._inbox, None, True)

        self._feeder = asyncio.ensure_future(feed())

    def say(self) -> None:
        """Tell gRPC what the method has said: status, details, trailing metadata."""
        self.said._request_id = self.request_id
        self.said._set_on_grpc_context(self.context)

    async def close(self) -> None:
        """Read no more of what the client sends."""
        if self._feeder is not None:
            self._feeder.cancel()
            with contextlib.suppress(
                asyncio.CancelledError, Exception
            ):  # the call's own end tells what went wrong
                await self._feeder
