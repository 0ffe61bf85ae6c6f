"""The actor of a proxy: an ASGI server in the actor's own loop, beside the calls of the controller."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from shoal.errors import ConfigError
from shoal.serve.logs import set_up as set_up_logs
from shoal.serve.messages import ProxySetup
from shoal.serve.tracing import set_up as set_up_spans

if TYPE_CHECKING:
    from shoal.serve.config import HTTPOptions
    from shoal.serve.proxy.app import ProxyApp
    from shoal.serve.proxy.http2 import Http2Server
    from shoal.serve.proxy.server import Server

    AnyServer = Server | Http2Server

    from shoal.serve.proxy.grpc_server import GrpcServer

_BACKLOG = 2048
_STARTED_SECONDS = 20.0


class Proxy:
    """Serves HTTP on one node. Begun by the controller."""

    def __init__(self, setup: ProxySetup) -> None:
        self._http = setup.http
        if setup.logging is not None:
            set_up_logs(setup.logging, "proxy", str(os.getpid()), {"component": "proxy"})
        set_up_spans(setup.tracing)
        self._server: AnyServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._address = ("", 0)
        self._grpc_options = setup.grpc
        self._grpc: GrpcServer | None = None
        self._ended = asyncio.Event()
        self._starting = asyncio.Lock()

    async def start(self) -> tuple[str, int, int, int]:
        """Begin to serve and return host, port, process, and the port of gRPC (0 without).

        Raises OSError if a port is taken, ConfigError.
        """
        async with self._starting:
            if self._server is None:
                await self._start()
        return (*self._address, os.getpid(), self._grpc.port if self._grpc is not None else 0)

    async def _start(self) -> None:
        from shoal.serve.callers import callers
        from shoal.serve.proxy.app import ProxyApp

        sock = await self._listen()
        try:
            app = ProxyApp(self._http)
            server = _make_server(app, self._http)
            if self._grpc is None and self._grpc_options.grpc_servicer_functions:
                from shoal.serve.proxy.grpc_server import GrpcServer

                rpcs = GrpcServer(self._grpc_options, app.routes, self._http.access_log)
                await rpcs.start()
                self._grpc = rpcs
            callers().on_routes(app.on_routes)
            self._task = await self._serve(app, server, sock)
        except BaseException:
            sock.close()
            raise
        self._server = server
        host, port = sock.getsockname()[:2]
        self._address = (host, port)

    async def _listen(self) -> socket.socket:
        """Return the socket that listens at the proxy's port. Raises OSError if it is taken."""
        return listen(self._http.host, self._http.port)

    async def _serve(self, app: ProxyApp, server: AnyServer, sock: socket.socket) -> asyncio.Task[None]:
        """Have the server take the socket's connections; return when it does."""
        return await run_server(server, [sock])

    async def until_end(self) -> None:
        """Return when the proxy has stopped as it was told; raises in the caller as soon as the process dies."""
        await self._ended.wait()

    async def stop(self) -> None:
        """Close the port, finish the requests that run, and return."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task}, timeout=10.0)
        if self._grpc is not None:
            await self._grpc.stop()
        self._ended.set()


def _make_server(app: ProxyApp, http: HTTPOptions) -> AnyServer:
    """Return a server as the options want it. Raises OSError and ssl.SSLError for files of TLS that do not work."""
    if http.http2:
        from shoal.serve.proxy.http2 import Http2Server

        return Http2Server(app, http)
    from shoal.serve.proxy.server import make_server

    return make_server(app, http)


async def run_server(server: AnyServer, sockets: list[socket.socket]) -> asyncio.Task[None]:
    """Return the task of a server that has started. Raises RuntimeError if it does not start."""
    task = asyncio.get_running_loop().create_task(server.serve(sockets=sockets))
    end = asyncio.get_running_loop().time() + _STARTED_SECONDS
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the HTTP server ended as it started; its log says why")
        if asyncio.get_running_loop().time() > end:
            task.cancel()
            raise RuntimeError(f"the HTTP server did not start within {_STARTED_SECONDS:g} s")
        await asyncio.sleep(0.005)
    return task


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that will be listened at. Raises OSError, with what to do, if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without delay only where a socket says that it is TCP; otherwise answers wait 40 ms for an ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(
            error.errno,
            f"cannot listen at {host}:{port}: {error.strerror}. Choose another with "
            "serve.start(http_options={'port': …}); 0 takes any that is free",
        ) from None
    sock.setblocking(False)
    return sock


def require(package: str, extra: str = "serve") -> None:
    """Raise ConfigError if a package of an extra is not there."""
    import importlib.util

    try:
        found = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a part, without the whole
        found = False
    if not found:
        raise ConfigError(f"shoal.serve needs {package}: install it with `pip install 'shoal[{extra}]'`")
