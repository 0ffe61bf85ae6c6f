"""The node's server of the ingress `direct`: a proxy that lends its socket, and serves while nobody else does."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

import shoal
from shoal.serve.ingresses.direct.acceptor import Acceptor
from shoal.serve.ingresses.direct.lending import Lender
from shoal.serve.proxy.actor import Proxy, listen, run_server

if TYPE_CHECKING:
    from shoal.serve.proxy.actor import AnyServer
    from shoal.serve.proxy.app import ProxyApp

_GIVEN_BACK_SECONDS = 2.0


class LendingProxy(Proxy):
    """Takes connections itself only while no replica of its node does."""

    _lender: Lender | None = None
    _acceptor: Acceptor | None = None
    _app: ProxyApp | None = None
    _others = 0

    async def _listen(self) -> socket.socket:
        if self._lender is None:
            self._lender = Lender(shoal.get_runtime_context().get_node_id(), self._changed)
        try:
            sock = listen(self._http.host, self._http.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            # Replicas that a server before this one lent its socket to hold the port.
            found = await self._lender.given_back(_GIVEN_BACK_SECONDS)
            if found is None or found.getsockname()[1] != self._http.port:
                raise
            sock = found
        self._lender.lend(sock)
        return sock

    async def _serve(self, app: ProxyApp, server: AnyServer, sock: socket.socket) -> asyncio.Task[None]:
        from shoal.serve.proxy.server import Server

        assert isinstance(server, Server), "`check` of the ingress refuses the other one"
        task = await run_server(server, [])
        self._app = app
        self._acceptor = Acceptor(server, sock)
        self._changed(self._others)
        return task

    def _changed(self, others: int) -> None:
        """Take note of how many replicas accept."""
        self._others = others
        if self._acceptor is None or self._app is None:
            return
        # Who has a connection here is to come again, where the replicas are nearer.
        self._app.turns_away = others > 0
        if others:
            self._acceptor.pause()
        else:
            self._acceptor.resume()

    async def stop(self) -> None:
        """Lend no more, close the port, finish the requests that run."""
        if self._acceptor is not None:
            self._acceptor.pause()
            await self._acceptor.settled()
        if self._lender is not None:
            self._lender.close()
        await super().stop()
