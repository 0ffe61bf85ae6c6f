"""The proxy's application: which deployment a path means, and how its answer goes back. Plain ASGI, for speed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import shoal
from shoal.errors import ActorDied, ActorError, ShoalError, TaskCancelled, WorkerCrashed
from shoal.serve.callers import callers
from shoal.serve.config import HTTPOptions
from shoal.serve.dispatch import Call, Dispatcher
from shoal.serve.exceptions import BackPressureError, DeploymentUnavailableError
from shoal.serve.messages import RouteSeen, key_of
from shoal.serve.proxy.routes import Found, Routes
from shoal.serve.routers.base import Asked
from shoal.serve.scopes import pack
from shoal.serve.tracing import tracer

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_log = logging.getLogger("shoal.serve")
_access = logging.getLogger("shoal.serve.access")
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
_TRIES = 3
_KNOWN_SECONDS = 10.0
_WATCH_AFTER_SECONDS = 0.02  # for a client that leaves: most answers are there before
CONNECTION = "shoal.connection"  # in scopes of our own server: it calls `on_left` when the client goes
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class ProxyApp:
    """Answers requests by asking replicas."""

    def __init__(self, http: HTTPOptions) -> None:
        self._http = http
        self._routes = Routes(())
        self._root = http.root_path
        self._known = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._app: ASGIApp = self._handle
        for each in reversed(http.middlewares):
            made = getattr(each, "cls", None)  # Starlette's Middleware
            self._app = made(self._app, *each.args, **each.kwargs) if made else each(self._app)
        self._plain = not http.middlewares
        self.ongoing = 0
        self.random = random.Random(os.urandom(16))  # for names of requests: the module's own may be a fork's
        self.turns_away = False  # clients are to come again by another connection

    def on_routes(self, routes: Sequence[RouteSeen]) -> None:
        """Take note of the routes as they are now, in any thread."""
        self._routes = Routes(routes)
        for each in routes:
            callers().dispatcher(key_of(each.app, each.deployment))
            if each.canary is not None:
                callers().dispatcher(key_of(each.canary.application, each.canary_deployment))
        self._loop.call_soon_threadsafe(self._known.set)

    async def until_known(self) -> None:
        """Wait until the routes are known. Raises asyncio.TimeoutError if they do not come."""
        if not self._known.is_set():
            await asyncio.wait_for(self._known.wait(), _KNOWN_SECONDS)

    async def routes(self) -> Routes:
        """Return the routes as they are now; the first time waits for them, within a bound."""
        await self.until_known()
        return self._routes

    def request(self, scope: Any, receive: Any, send: Any, found: Found, path: str) -> Request:
        """Return what answers a request to one of the routes."""
        return ProxiedRequest(self, scope, receive, send, found, path)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        if self._plain:
            await self._handle(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._known.is_set():
            await self.until_known()
        path = scope["path"]
        if self._root and path.startswith(self._root):
            path = path[len(self._root) :] or "/"
        if path.startswith("/-/") and scope["type"] == "http":
            await self._own_page(path, send)
            return
        found = self._routes.find(path)
        if found is None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000, "reason": "no such route"})
                return
            await _answer(send, 404, f"no application serves {path!r}; GET /-/routes lists what there is\n")
            return
        if found.canary is not None:
            found = found.pick(scope["headers"])
        request = self.request(scope, receive, send, found, path)
        spans = tracer()
        self.ongoing += 1
        try:
            if scope["type"] == "websocket":
                await request.serve_socket()
            elif spans is None:
                await request.serve()
            else:
                facts = {"application": found.app, "path": path, "request_id": request.request_id}
                with spans.span(f"proxy {scope['method']} {found.prefix}", request.meta[4], facts) as trace:
                    request.meta = (*request.meta[:4], trace)
                    await request.serve()
        finally:
            self.ongoing -= 1
            if self._http.access_log and _access.isEnabledFor(logging.INFO):
                request.log()

    async def _own_page(self, path: str, send: Any) -> None:
        if path == "/-/healthz":
            await _answer(send, 200, "success")
        elif path == "/-/routes":
            body = json.dumps({each.prefix: each.app for each in self._routes.all}).encode()
            await _send(send, 200, [(b"content-type", b"application/json")], body)
        else:
            await _answer(send, 404, f"{path!r} is not a page of shoal.serve\n")


class Left(Exception):
    """The client has gone."""


class UsersError(Exception):
    """The user's code raised its cause, which could be mistaken for something of our own."""


class Leaving:
    """Calls back when the client of a request leaves, until it is closed."""

    __slots__ = ("_connection", "_task", "_timer")

    def __init__(self, request: Request, left: Callable[[], None]) -> None:
        self._connection = request.scope.get(CONNECTION)
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if self._connection is not None:
            self._connection.on_left = left
            return

        async def watch() -> None:
            await request.until_left()
            left()

        def begin() -> None:
            self._task = loop.create_task(watch())

        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_WATCH_AFTER_SECONDS, begin)

    def close(self) -> None:
        """Do not call back any more."""
        if self._connection is not None:
            self._connection.on_left = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


class _Refused(Exception):
    """The request cannot be passed on: status and text for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Request:
    """One request on its way: what is the same wherever it is answered."""

    def __init__(self, proxy: ProxyApp, scope: Any, receive: Any, send: Any, found: Found, path: str) -> None:
        self._proxy = proxy
        self.http = proxy._http
        self.scope = scope
        self.receive = receive
        self.send = send
        self.found = found
        self.began = time.perf_counter()
        self.status = 0
        self.request_id = ""
        model = trace = session = ""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                self.request_id = value.decode("latin-1")[:128]
            elif name == b"serve_multiplexed_model_id":
                model = value.decode("latin-1")
            elif name == b"traceparent":
                trace = value.decode("latin-1")
            elif name == b"x-session-id":
                session = value.decode("latin-1")
        self.request_id = self.request_id or f"{proxy.random.getrandbits(128):032x}"
        self.meta = ("__call__", self.request_id, found.prefix, model, trace)
        self.model, self.session = model, session
        self._started = False

    @property
    def root_path(self) -> str:
        """What comes before the paths that the application knows."""
        root, prefix = self.scope.get("root_path", ""), self.found.prefix
        return root if prefix == "/" else f"{root}{prefix}"

    def own_headers(self) -> list[tuple[bytes, bytes]]:
        """Return what each answer has beside what the application says."""
        mine = [(b"x-request-id", self.request_id.encode("latin-1", "replace"))]
        if self._proxy.turns_away:
            mine.append((b"connection", b"close"))
        return mine

    async def _ask(self, body: bytes) -> None:
        """Send the application's answer. Raises what keeps it from that."""
        raise NotImplementedError

    async def _answered(self, body: bytes) -> None:
        try:
            await self._ask(body)
        except asyncio.TimeoutError as error:  # of the user's code: not that of `request_timeout_s`
            raise UsersError from error

    async def serve_socket(self) -> None:
        """Carry a websocket until it ends."""
        raise NotImplementedError

    async def serve(self) -> None:
        """Pass the request on and its answer back."""
        timeout = self.http.request_timeout_s
        try:
            body = await self._body()
            if timeout is None:
                await self._answered(body)
            else:
                await asyncio.wait_for(self._answered(body), timeout)
        except asyncio.TimeoutError:
            await self._fail(408, f"the request took longer than request_timeout_s={timeout:g}\n")
        except Left:
            self.status = 499
        except _Refused as refused:
            await self._fail(refused.status, refused.text)
        except BackPressureError as error:
            wait = error.retry_after_s
            more = [] if wait is None else [(b"retry-after", b"%d" % max(1, round(wait)))]
            await self._fail(error.status_code, f"{error}\n", *more)
        except DeploymentUnavailableError as error:
            await self._fail(503, f"{error}\n")
        except (ActorError, WorkerCrashed) as error:
            _log.warning("request %s: a replica of %s died: %s", self.request_id, self.found.key, error)
            await self._fail(503, "the replica that had the request died; it is not known how far it came\n")
        except TaskCancelled:
            await self._fail(503, "the request was cancelled at its replica\n")
        except ShoalError as error:
            _log.exception("request %s to %s failed", self.request_id, self.found.key)
            await self._fail(500, f"Internal Server Error: {type(error).__name__}\n")
        except Exception as error:  # of the user's code: told in the log, not to the client
            raised = error.__cause__ if isinstance(error, UsersError) else error
            _log.error("request %s: %s raised %r", self.request_id, self.found.key, raised)
            await self._fail(500, "Internal Server Error\n")

    async def _body(self) -> bytes:
        most = self.http.max_body_bytes
        comes = False
        for name, value in self.scope["headers"]:
            if name == b"content-length" and value.isdigit():
                comes = value != b"0"
                if int(value) > most:
                    raise _Refused(413, f"the body has more than {most} bytes\n")
            elif name == b"transfer-encoding":
                comes = True
        if not comes and CONNECTION in self.scope:  # over HTTP/1.1 a body is announced
            return b""
        message = await self._more()
        if message["type"] == "http.disconnect":
            raise Left
        if not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > most:
                raise _Refused(413, f"the body has more than {most} bytes\n")
            return body
        parts = [message.get("body", b"")]
        size = len(parts[0])
        while message.get("more_body", False):
            message = await self._more()
            if message["type"] == "http.disconnect":
                raise Left
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise _Refused(413, f"the body has more than {most} bytes\n")
        return b"".join(parts)

    async def _more(self) -> Any:
        """Return a piece of the body, from a client that has not fallen asleep."""
        seconds = self.http.header_timeout_s
        try:
            return await asyncio.wait_for(self.receive(), seconds)
        except asyncio.TimeoutError:
            raise _Refused(408, f"nothing came of the body for {seconds:g} s\n") from None

    async def until_left(self) -> None:
        """Wait until the client has gone."""
        while (await self.receive())["type"] != "http.disconnect":
            continue

    async def _fail(self, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
        if self._started:  # a stream breaks off without its last piece, which is how the client knows
            raise ConnectionError(text)
        self.status = status
        # What is left of a body is not read. Over HTTP/2 that is the request's own stream.
        ends = status in (408, 413) and not self._proxy.turns_away and self.scope["http_version"] < "2"
        extra = [(b"connection", b"close")] if ends else []
        await _answer(self.send, status, text, *more, *extra, *self.own_headers())

    def log(self) -> None:
        """Write the line of the access log."""
        scope = self.scope
        _access.info(
            "%s %s %s %s %d %.1fms %s",
            (scope["client"] or ("-",))[0],
            scope.get("method", "WEBSOCKET"),
            scope["path"],
            self.found.app,
            self.status,
            (time.perf_counter() - self.began) * 1e3,
            self.request_id,
        )


class ProxiedRequest(Request):
    """A request that a replica in another process answers."""

    def __init__(self, proxy: ProxyApp, scope: Any, receive: Any, send: Any, found: Found, path: str) -> None:
        super().__init__(proxy, scope, receive, send, found, path)
        self.dispatcher: Dispatcher = callers().dispatcher(found.key)

    def packed_scope(self) -> bytes:
        """Return the scope for the replica, its root_path that of the application."""
        return pack(self.scope, self.root_path)

    async def serve_socket(self) -> None:
        """Carry a websocket between its client and a replica."""
        from shoal.serve.proxy.sockets import serve_socket

        await serve_socket(self)

    async def _ask(self, body: bytes) -> None:
        scope = self.packed_scope()
        tries = _TRIES if self.scope["method"] in _IDEMPOTENT else 1
        while True:
            call = Call("http", self.meta, (scope, body), {}, self.asked(body), False)
            tries -= 1
            try:
                status, headers, first, stream, ongoing = await self._answer_or_leave(call)
            except DeploymentUnavailableError:
                back = self.found.other
                if back is None:
                    raise
                # A canary that was just ended: nothing was sent, and the stable version has the request.
                self.found, self.dispatcher = back, callers().dispatcher(back.key)
                tries += 1
                continue
            except ActorError as error:
                if isinstance(error, ActorDied):
                    self.dispatcher.lost(call)
                if not tries:
                    raise
                continue
            break
        headers += self.own_headers()
        self.status = status
        self._started = True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        if stream is None:
            self.dispatcher.finished(call, ongoing)
            await self.send({"type": "http.response.body", "body": first})
            return
        try:
            await self.send({"type": "http.response.body", "body": first, "more_body": True})
            await self._stream(call, stream)
        finally:
            self.dispatcher.finished(call)

    def asked(self, body: bytes) -> Asked:
        """Return what routers may know."""
        return Asked("__call__", (body,), None, self.model, self.session)

    async def _answer_or_leave(self, call: Call) -> Any:
        """Return the replica's answer; a client that leaves before it comes cancels the request there."""
        self.dispatcher.start(call)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any]
        if call.ref is not None:
            answer = call.ref.as_future()
        else:
            assert call.waiter is not None, "a call was sent, or waits"
            answer = loop.create_future()
            asyncio.wrap_future(call.waiter).add_done_callback(lambda sent: _settle_when_sent(answer, sent))

        def left() -> None:
            if not answer.done():
                answer.set_exception(Left())

        leaving = Leaving(self, left)
        try:
            return await answer
        except BaseException as error:
            unwanted = isinstance(error, (Left, asyncio.CancelledError))
            if unwanted and not self.dispatcher.cancel(call) and call.ref is not None:
                shoal.cancel(call.ref)
            self.dispatcher.finished(call)
            raise
        finally:
            leaving.close()

    async def _stream(self, call: Call, number: int) -> None:
        actor: Any = call.candidate.actor if call.candidate is not None else None
        leaves = asyncio.ensure_future(self.until_left())
        over = False
        try:
            while not over:
                pull = asyncio.ensure_future(_wait(actor.pull.remote(number)))
                await asyncio.wait({pull, leaves}, return_when=asyncio.FIRST_COMPLETED)
                if not pull.done():
                    pull.cancel()
                    raise Left
                chunks, over, failed = pull.result()
                if failed:
                    raise ShoalError("the stream broke off: its replica's log says why")
                await self.send(
                    {"type": "http.response.body", "body": b"".join(chunks), "more_body": not over}
                )
        finally:
            leaves.cancel()
            if not over:
                actor.abandon.remote(number)


def _settle_when_sent(answer: asyncio.Future[Any], sent: asyncio.Future[Any]) -> None:
    if answer.done():
        if not sent.cancelled():
            sent.exception()  # nobody else will ask, and asyncio complains of what nobody asked for
        return
    if sent.cancelled() or sent.exception() is not None:
        _copy(answer, sent)
    else:
        sent.result().as_future().add_done_callback(lambda done: _copy(answer, done))


def _copy(answer: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
    if answer.done():
        if not done.cancelled():
            done.exception()
        return
    if done.cancelled():
        answer.cancel()
        return
    error = done.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


async def _wait(ref: Any) -> Any:
    return await ref


async def _answer(send: Any, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    await _send(send, status, [_TEXT, *more], text.encode())


async def _send(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})
