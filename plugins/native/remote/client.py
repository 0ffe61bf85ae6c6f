"""Where a driver outside the cluster differs from those inside it: everything goes through the tunnel."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shoal.errors import GetTimeout, ShoalError
from shoal.native.client.client import Client
from shoal.native.client.peers import DAEMON, Peers
from shoal.native.client.pulls import Pulls
from shoal.native.remote.channels import ChannelConnection
from shoal.native.remote.packages import Packages
from shoal.native.transport.connection import Connection
from shoal.native.wire import kinds
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake
from shoal.native.wire.nodes import number_of

if TYPE_CHECKING:
    from shoal.config import Config
    from shoal.interfaces.refs import ObjectRef
    from shoal.native.process.session import Session
    from shoal.native.remote.store import Buffer, RemoteStore
    from shoal.native.remote.tunnel import Tunnel
    from shoal.native.transport.reactor import Reactor


class RemotePeers(Peers):
    """The other processes, reached through the tunnel. To them this one lives on the gateway's node."""

    def __init__(self, tunnel: Tunnel, client: RemoteClient) -> None:
        self._tunnel = tunnel
        session = client.session
        super().__init__(
            tunnel.reactor,
            session.folder,
            session.token,
            client.worker_id,
            client.handlers,
            True,
            session.links(),
        )

    def _listen(self, in_cluster: bool) -> None:
        self._tunnel.on_caller = self._called

    @property
    def in_cluster(self) -> bool:
        """True: even what lies on the gateway's node is elsewhere."""
        return True

    def _connect(self, worker_id: bytes) -> Connection:
        number = number_of(worker_id)
        address = "" if number == self._number else self._address_of(number)
        handshake = ClientHandshake(self._token, self._worker_id)
        return self._tunnel.open(
            worker_id, address, handshake, self._on_message, self._on_close, self._on_answered
        )

    def _called(self, number: int, far: bool) -> ChannelConnection | None:
        if self._closed:
            return None
        handshake = ServerHandshake(self._token, self._worker_id)
        channel = self._tunnel.accept(number, handshake, self._on_message, self._on_close, self._on_open)
        self._begin(channel)
        if far:
            self._admission.add(channel)
        return channel


class RemotePulls(Pulls):
    """Has objects copied to the gateway's node, and remembers of which it knows that they are there."""

    def __init__(self, client: RemoteClient) -> None:
        super().__init__(client)
        self._store = client.store

    def arrived(self, object_id: bytes) -> None:
        """An object is on the gateway's node."""
        self._store.note(object_id)


class RemoteClient(Client):
    """A driver's part, far from the session that it is a part of."""

    store: RemoteStore
    is_far = True

    def __init__(
        self, session: Session, config: Config, worker_id: bytes, store: RemoteStore, tunnel: Tunnel
    ) -> None:
        self.tunnel = tunnel
        self._packages = Packages(tunnel)
        self._here = threading.local()  # objects that a get() of this thread has brought
        super().__init__(session, config, worker_id, store)
        self.pulls = RemotePulls(self)
        tunnel.on_lost = self._lost

    def make_reactor(self) -> Reactor:
        """Return the tunnel's loop."""
        return self.tunnel.reactor

    def make_peers(self) -> Peers:
        """Return peers that are reached through the tunnel."""
        return RemotePeers(self.tunnel, self)

    def connect_daemon(self) -> Connection:
        """Begin to connect to the daemon of the gateway's node."""
        handshake = ClientHandshake(self.session.token, self.worker_id)
        return self.tunnel.open(DAEMON, "", handshake, self.on_daemon_message, self.on_daemon_closed)

    def _lost(self, error: ShoalError) -> None:
        if not self.closed:
            self.fail(error)

    def check_environment(self, runtime_env: Any) -> dict[str, Any]:
        """Return a runtime_env in canonical form; its files are on the gateway's node then."""
        from shoal.native.process.environments import check_environment

        return self._packages.send_all(check_environment(runtime_env))

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Return values in order; large ones are all on their way before the first is looked at."""
        try:
            return super().get(refs, timeout)
        finally:
            self._here.buffers = None

    def _bring(self, refs: Sequence[ObjectRef[Any]], deadline: float | None, timeout: float | None) -> None:
        super()._bring(refs, deadline, timeout)
        wanted = {
            ref.record.object_id: ref.record.payload[0] for ref in refs if ref.record.status == kinds.STORED
        }
        if not wanted:
            return
        buffers: list[Buffer | None] | None = self.store.fetch(wanted.items(), deadline)
        if buffers is None:
            raise GetTimeout(
                f"get() waited {timeout:g} s; the values are ready, but {len(wanted)} large ones were still on their "
                "way to this client"
            )
        self._here.buffers = buffers  # the store itself keeps only what somebody uses

    def say_goodbye(self) -> None:
        """Let the gateway end at once, and not only when this client has been away for long."""
        if self.process == os.getpid():  # a fork has the same connection, and it is not its own
            self.tunnel.close()
