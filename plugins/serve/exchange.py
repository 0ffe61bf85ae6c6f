"""HTTP and websockets at a replica: requests become calls of the user's code, and what comes back becomes messages.

A whole answer goes back at once. One that comes in pieces, and a websocket, is an `Exchange` with a number: the proxy
pulls its messages, and what waits to be pulled has a bound, so a slow client slows its own stream only.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from shoal.serve.answers import body_of, head_of, response_of
from shoal.serve.messages import Head
from shoal.serve.running import kind_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

_log = logging.getLogger("shoal.serve")
_MOST_BYTES = 1 << 20  # that wait to be pulled, of one stream
_MOST_MESSAGES = 256
_NOBODY_PULLS_SECONDS = 300.0
_LIFESPAN_SECONDS = 60.0

Over = Callable[[bool], None]


class Exchange:
    """One request or websocket that runs: what the client sent, and what it has not got yet."""

    def __init__(self, body: bytes | None) -> None:
        self._body = body  # None: a websocket
        self._was_read = False
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_MESSAGES)
        self.out: list[Any] = []
        self._size = 0
        self._changed = asyncio.Event()  # for who pulls
        self._room = asyncio.Event()  # for who sends
        self._room.set()
        self._gone = asyncio.Event()
        self.start: dict[str, Any] | None = None
        self.complete = False  # the last message is there
        self.failed = False
        self.task: asyncio.Task[None] | None = None
        self.over: Over | None = None

    async def receive(self) -> dict[str, Any]:
        """What the application calls for the client's messages."""
        if self._body is None:
            return await self._inbox.get()
        if not self._was_read:
            self._was_read = True
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        """What the application calls with its messages."""
        kind = message["type"]
        if kind == "http.response.start":
            self.start = dict(message)
            return
        if self._gone.is_set():
            raise OSError("the client has gone")
        if kind == "http.response.body":
            if self.start is None:
                raise RuntimeError("http.response.body came before http.response.start")
            body = message.get("body", b"")
            if body:
                self.out.append(bytes(body))
                self._size += len(body)
            if not message.get("more_body", False):
                self.complete = True
        else:
            self.out.append(dict(message))
            self._size += len(message.get("bytes") or b"") + len(message.get("text") or "")
            self.complete = self.complete or kind == "websocket.close"
        self._changed.set()
        if self._size > _MOST_BYTES or len(self.out) > _MOST_MESSAGES:
            self._room.clear()
            await asyncio.wait_for(self._room.wait(), _NOBODY_PULLS_SECONDS)

    async def wait(self) -> None:
        """Wait until there is something to pull, or the end."""
        while not self.out and not self.complete and not self.failed:
            self._changed.clear()
            await self._changed.wait()

    def take(self) -> list[Any]:
        """Return what there is to pull."""
        out, self.out, self._size = self.out, [], 0
        self._room.set()
        return out

    async def push(self, messages: list[dict[str, Any]]) -> None:
        """Give the application what the client has sent."""
        for each in messages:
            await self._inbox.put(each)

    def leave(self) -> None:
        """The client has gone."""
        self._gone.set()
        self._room.set()
        if self.task is not None and not self.task.done():
            self.task.cancel()

    def finish(self, failed: bool) -> None:
        """The application has returned, or raised."""
        self.failed = self.failed or (failed and not self.complete)
        self.complete = True
        self._changed.set()
        over, self.over = self.over, None
        if over is not None:
            over(failed)


class Exchanges:
    """The HTTP side of one replica."""

    def __init__(self, user: Any, kind: str, run_sync: Callable[..., Awaitable[Any]]) -> None:
        self._user = user
        self._kind = kind
        self._run_sync = run_sync
        self._numbers = itertools.count(1)
        self._open: dict[int, Exchange] = {}
        self._app: ASGIApp | None = None
        self._lifespan: Lifespan | None = None
        self._call: tuple[Callable[..., Any], str] | None = None
        self._request: type[Request] | None = None  # Starlette's, which is imported late

    async def start(self) -> None:
        """Make the application ready, with its lifespan's startup. Raises what that raises."""
        if self._kind == "asgi":
            from shoal.serve.ingress import application_of

            self._app = application_of(self._user)
            self._lifespan = Lifespan(self._app)
            await self._lifespan.start()
            return
        if callable(self._user):
            from starlette.requests import Request

            self._request = Request
            self._call = self._user, kind_of(self._user)

    async def close(self) -> None:
        """End what runs, and the application's lifespan."""
        for each in list(self._open.values()):
            each.leave()
        if self._lifespan is not None:
            await self._lifespan.close()

    def when_over(self, number: int, callback: Over) -> None:
        """Call back with whether it failed when a stream ends; at once if it has ended."""
        found = self._open.get(number)
        if found is None or found.task is None or found.task.done():
            callback(found.failed if found else False)
        else:
            found.over = callback

    async def answer(self, meta: Any, scope: dict[str, Any], body: bytes) -> Head:
        """Return the answer to a request, or its beginning."""
        if self._app is not None:
            return await self._run(self._app, scope, body)
        if self._call is None:
            return self._no_call()
        value = await self._value(self._call, scope, _Body(body))
        head = body_of(value)
        return head if head is not None else await self._run(response_of(value), scope, body)

    async def _value(self, call: tuple[Callable[..., Any], str], scope: Any, receive: Any) -> Any:
        assert self._request is not None, "it came with the call"
        request = self._request(scope, receive)
        function, kind = call
        if kind == "async":
            return await function(request)
        if kind == "generator":
            return function(request)
        value = await self._run_sync(function, (request,), {})
        return await value if inspect.isawaitable(value) else value

    async def serve(self, scope: dict[str, Any], body: bytes | None, receive: Any, send: Any) -> None:
        """Answer a request, or carry a websocket, that came to this process by itself; only a websocket receives more.
        What the user's code raises comes out.
        """
        kind = scope["type"]
        if kind == "websocket":
            await (self._app or _no_websockets)(scope, receive, send)
            return
        take = _Body(body or b"")
        app = self._app
        if app is None:
            if self._call is None:
                head: Head | None = self._no_call()
            else:
                value = await self._value(self._call, scope, take)
                head = body_of(value)
                app = response_of(value) if head is None else None
            if head is not None:
                await send({"type": "http.response.start", "status": head.status, "headers": head.headers})
                await send({"type": "http.response.body", "body": head.body})
                return
        assert app is not None, "what is no whole answer is an application"
        await app(scope, take, send)

    def _no_call(self) -> Head:
        return head_of(404, f"{type(self._user).__name__} has no __call__ and takes no HTTP requests\n")

    async def _run(self, app: ASGIApp, scope: dict[str, Any], body: bytes) -> Head:
        exchange = Exchange(body)
        exchange.task = asyncio.create_task(self._serve(app, scope, exchange))
        try:
            await exchange.wait()
        except asyncio.CancelledError:
            exchange.leave()
            raise
        start = exchange.start
        if start is None or (exchange.failed and not exchange.out):
            return head_of(500, "Internal Server Error\n")
        first = b"".join(exchange.take())
        headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
        if exchange.complete and not exchange.failed:
            return Head(status=start["status"], headers=headers, body=first)
        number = next(self._numbers)
        self._open[number] = exchange
        return Head(status=start["status"], headers=headers, body=first, stream=number)

    def open(self, meta: Any, scope: dict[str, Any]) -> int:
        """Begin a websocket and return its number."""
        exchange = Exchange(None)
        app = self._app or _no_websockets
        number = next(self._numbers)
        self._open[number] = exchange
        exchange.task = asyncio.create_task(self._serve(app, scope, exchange))
        return number

    async def _serve(self, app: ASGIApp, scope: dict[str, Any], exchange: Exchange) -> None:
        failed = True
        try:
            await app(scope, exchange.receive, exchange.send)
            failed = exchange.start is None and scope["type"] == "http"
        except asyncio.CancelledError:
            if not exchange._gone.is_set():
                raise
            failed = False
        except OSError as error:
            if not exchange._gone.is_set():
                _log.exception("%s %s failed: %s", scope["type"], scope["path"], error)
        except Exception:  # the user's application: told in the log, the client gets a 500
            _log.exception("%s %s failed", scope["type"], scope["path"])
        finally:
            exchange.finish(failed)

    async def pull(self, number: int) -> tuple[list[Any], bool, bool]:
        """Return the next messages of a stream, whether that was all, and whether it failed."""
        exchange = self._open.get(number)
        if exchange is None:
            return [], True, True
        try:
            await exchange.wait()
        except asyncio.CancelledError:
            self.abandon(number)
            raise
        over = exchange.complete
        messages = exchange.take()
        if over:
            self._open.pop(number, None)
        return messages, over, exchange.failed

    async def push(self, number: int, messages: list[dict[str, Any]]) -> None:
        """Hand on what the client has sent; after the end it is dropped."""
        exchange = self._open.get(number)
        if exchange is not None:
            await exchange.push(messages)

    def abandon(self, number: int) -> None:
        """The client of a stream has gone."""
        exchange = self._open.pop(number, None)
        if exchange is not None:
            exchange.leave()


class _Body:
    """What an application receives of a request whose client is watched by others: the body, and then nothing more."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def __call__(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is None:
            await asyncio.Event().wait()  # the application is cancelled when the client leaves
        return {"type": "http.request", "body": body, "more_body": False}


async def _no_websockets(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1000, "reason": "this deployment takes no websockets"})


class Lifespan:
    """Startup and shutdown of an ASGI application; one that knows nothing of it is left alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(4)
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue(4)
        self._task: asyncio.Task[None] | None = None
        self._on = False

    async def start(self) -> None:
        """Run the startup. Raises RuntimeError if the application says that it failed."""
        self._task = asyncio.create_task(self._run())
        await self._inbox.put({"type": "lifespan.startup"})
        answer = await asyncio.wait_for(self._answers.get(), _LIFESPAN_SECONDS)
        if answer["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the application's startup failed: {answer.get('message', '')}")
        self._on = answer["type"] == "lifespan.startup.complete"

    async def _run(self) -> None:
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": {},
        }
        try:
            await self._app(scope, self._inbox.get, self._answers.put)  # type: ignore[arg-type]
        except Exception as error:  # the application may not know the protocol
            _log.debug("the application has no lifespan: %r", error)
        await self._answers.put({"type": "over"})

    async def close(self) -> None:
        """Run the shutdown, within a bound."""
        if self._task is None:
            return
        if self._on and not self._task.done():
            await self._inbox.put({"type": "lifespan.shutdown"})
            await asyncio.wait({self._task}, timeout=_LIFESPAN_SECONDS)
        self._task.cancel()
