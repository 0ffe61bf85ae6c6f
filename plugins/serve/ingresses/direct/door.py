"""A replica's own server: requests of its application are answered here, those of others are passed on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import shoal
from shoal.errors import ActorError, TaskCancelled, WorkerCrashed
from shoal.serve.callers import callers
from shoal.serve.config import HTTPOptions, RequestRouterConfig
from shoal.serve.ingresses.direct.acceptor import Acceptor
from shoal.serve.ingresses.direct.lending import Loan, borrow
from shoal.serve.messages import key_of
from shoal.serve.proxy.actor import run_server
from shoal.serve.proxy.app import CONNECTION, Leaving, Left, ProxyApp, Request, UsersError
from shoal.serve.proxy.routes import Found

if TYPE_CHECKING:
    from shoal.serve.proxy.server import Server
    from shoal.serve.replica import Replica

_BORROW_SECONDS = 20.0  # for the node's server to begin
_AGAIN_SECONDS = 0.1
_LINGER_SECONDS = 1.0  # for clients to hear that they are to come again by another connection


class _App(ProxyApp):
    """Knows all routes, and answers those of the replica's deployment itself."""

    def __init__(self, http: HTTPOptions, replica: Replica) -> None:
        super().__init__(http)
        self.replica = replica
        where = replica.replica_id.deployment_id
        self._key = key_of(where.app_name, where.name)
        # Who chose a router of his own wants it asked.
        self._routed = replica.options.request_router_config != RequestRouterConfig()

    def request(self, scope: Any, receive: Any, send: Any, found: Found, path: str) -> Request:
        """Return what answers a request."""
        if found.key == self._key and not self._routed:
            mine = _OwnRequest(self, scope, receive, send, found, path)
            if not mine.model:  # the replica that has loaded it is known to callers
                return mine
        return super().request(scope, receive, send, found, path)


class _OwnRequest(Request):
    """A request that this process answers."""

    def __init__(self, app: _App, scope: Any, receive: Any, send: Any, found: Found, path: str) -> None:
        super().__init__(app, scope, receive, send, found, path)
        self._replica = app.replica

    async def _ask(self, body: bytes) -> None:
        task = asyncio.current_task()
        assert task is not None, "a request is a task"
        gone = False

        def left() -> None:
            nonlocal gone
            gone = True
            task.cancel()

        leaving = Leaving(self, left)
        try:
            await self._replica.serve(self.meta, self._scope(), body, None, self._send)
        except asyncio.CancelledError:
            if gone:
                raise Left from None
            raise
        except (
            ActorError,
            TaskCancelled,
            WorkerCrashed,
        ) as error:  # of an actor that the user's code has called
            raise UsersError from error
        finally:
            leaving.close()

    def _scope(self) -> dict[str, Any]:
        scope = {**self.scope, "root_path": self.root_path}
        scope.pop(CONNECTION, None)
        return scope

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._started = True
            message = {**message, "headers": [*message.get("headers", ()), *self.own_headers()]}
        await self.send(message)

    async def serve_socket(self) -> None:
        """Carry a websocket."""
        await self._replica.serve(self.meta, self._scope(), None, self.receive, self.send)
        self.status = 101


class ReplicaDoor:
    """Lets requests into one replica."""

    def __init__(self, app: _App, server: Server, task: asyncio.Task[None], node_id: str) -> None:
        self._app = app
        self._server = server
        self._task = task
        self._node_id = node_id
        self._loan: Loan | None = None
        self._acceptor: Acceptor | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Accept, as soon as the node's server lends its socket."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep())
        end = asyncio.get_running_loop().time() + _BORROW_SECONDS
        while self._loan is None and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_AGAIN_SECONDS / 10)

    async def _keep(self) -> None:
        """Have the socket of whoever lends it now; one that is lost is used on meanwhile."""
        held: socket.socket | None = None
        while True:
            loan = await borrow(self._node_id, held)
            if loan is None:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if loan.sock is not held:
                if self._acceptor is not None:
                    self._acceptor.pause()
                if held is not None:
                    held.close()
                held = loan.sock
                self._acceptor = Acceptor(self._server, held)
                self._acceptor.resume()
            self._loan = loan
            await loan.until_lost()
            loan.end()

    async def close(self, patience_s: float) -> None:
        """Accept no more, and answer what came."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        if self._acceptor is not None:
            self._acceptor.pause()
            await self._acceptor.settled()
        self._app.turns_away = True
        loan, self._loan = self._loan, None
        if loan is not None:
            loan.end()  # the node's server takes over what waits in the queue, if nobody else does
            loan.sock.close()
        state = self._server.server_state
        await self._until_gone(min(end, loop.time() + _LINGER_SECONDS))
        for each in list(state.connections):
            each.shutdown()
        await self._until_gone(end)
        self._server.should_exit = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), max(0.5, end - loop.time()))

    async def _until_gone(self, end: float) -> None:
        state = self._server.server_state
        while (state.connections or state.tasks) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)


async def open_door(replica: Replica, http: HTTPOptions) -> ReplicaDoor:
    """Return a replica's door, opened if its node has a server; else as soon as it has one."""
    from shoal.serve.proxy.server import make_server

    app = _App(http, replica)
    server = make_server(app, http)
    callers().on_routes(app.on_routes)
    await app.until_known()
    task = await run_server(server, [])
    door = ReplicaDoor(app, server, task, shoal.get_runtime_context().get_node_id())
    await door.open()
    return door
