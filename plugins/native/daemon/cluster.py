"""A daemon's part in a cluster of more than its own node: the door, the head's service or the way to it, the lease."""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError, SystemFailure
from shoal.native.client.peers import socket_path
from shoal.native.daemon.companions import Companions
from shoal.native.daemon.door import Door
from shoal.native.daemon.fetchers import Fetchers
from shoal.native.head.rpc import ControlServer
from shoal.native.process.folders import NODE_FILE
from shoal.native.wire import control
from shoal.native.wire.nodes import daemon_of
from shoal.spec.version import VERSION, python_version

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon
    from shoal.native.daemon.remote_head import RemoteHead

_log = logging.getLogger("shoal.daemon")
_SERVICE = b"head"  # whose Unix socket is the gRPC service's
# The head's alone: its metadata store's passwords are in them.
_HEADS_OWN = frozenset({"metadata_location", "metadata_options"})


class ClusterPart:
    """What a node does for, and knows of, the cluster."""

    def __init__(self, daemon: Daemon, remote: RemoteHead | None) -> None:
        self._daemon = daemon
        self._remote = remote
        self._server: ControlServer | None = None
        self._companions = Companions(daemon)
        self._renewed = time.monotonic()
        self._silent_since = 0.0
        host = daemon.session.listen_host
        try:
            self._door = Door(daemon, host, daemon.config.node_port, Fetchers(daemon))
        except OSError as error:
            raise SystemFailure(
                f"this node cannot listen on {host}:{daemon.config.node_port}: {error}; choose another node_port"
            ) from error
        shown = reachable_host(host, daemon.session.head_address)
        self.address = f"[{shown}]:{self._door.port}" if ":" in shown else f"{shown}:{self._door.port}"
        self.head_address = daemon.session.head_address

    def begin(self) -> None:
        """Serve as the head, or join it."""
        daemon = self._daemon
        if self._remote is None:
            assert daemon.head is not None
            shared = {
                name: value for name, value in daemon.config.to_wire().items() if name not in _HEADS_OWN
            }
            settings = {"config": shared, "namespace": daemon.session.namespace}
            self._server = ControlServer(
                daemon.head,
                daemon_of(daemon.number),
                daemon.session.token,
                settings,
                daemon.call_soon,
                socket_path(daemon.session.folder, _SERVICE),
                self._door.admit_socket,
                daemon.session.credentials(),
            )
            port = self._server.start(daemon.session.listen_host, daemon.session.listen_port)
            host = reachable_host(daemon.session.listen_host, "")
            self.head_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self._renew_lease()
        else:
            self._join()
            threading.Thread(target=self._listen, name="shoal-head-link", daemon=True).start()
            self._renew()
        self._write_node_file()
        if self._server is not None:
            self._companions.begin(self.head_address)

    def _join(self) -> None:
        assert self._remote is not None
        daemon = self._daemon
        book = daemon.scheduling.book
        self._renewed = time.monotonic()
        self._remote.join([control.JOIN, self.address, dict(book.total.units), daemon.labels, self.facts()])

    def _listen(self) -> None:
        """Hear the head out, again and again: in a thread of its own."""
        daemon = self._daemon
        remote = self._remote
        assert remote is not None
        while True:
            why = remote.listen(
                lambda messages: daemon.call_soon(functools.partial(self._on_messages, messages))
            )
            if daemon.ended:
                return
            _log.warning("the connection to the head broke: %s", why)
            daemon.call_soon(self._lost_head)
            try:
                remote.hello(daemon.config.head_wait_seconds, _log.warning)
            except ShoalError as error:
                daemon.call_soon(functools.partial(self._end, str(error)))
                return
            joined = threading.Event()
            daemon.call_soon(functools.partial(self._found_head, joined))
            if not joined.wait(30):
                return

    def _found_head(self, joined: threading.Event) -> None:
        """The head is back, or another one in its place: tell it what lives here, and ask again what it was asked."""
        self._silent_since = 0.0
        daemon = self._daemon
        daemon.groups.begin_anew()
        self._join()
        assert self._remote is not None
        state = [
            control.STATE,
            list(daemon.clients),
            daemon.actors.living(),
            daemon.groups.held(),
            daemon.scheduling.jobs.portions(),
        ]
        self._remote.up(state)
        for message in daemon.asked.unanswered():
            self._remote.up(message)
        self._remote.send_kept()
        daemon.reports.again()
        joined.set()

    def _lost_head(self) -> None:
        self._silent_since = time.monotonic()

    def _on_messages(self, messages: list[list[Any]]) -> None:
        with self._daemon.together():
            for message in messages:
                try:
                    self._on_message(message)
                except Exception:  # the others are no less meant
                    _log.exception("a message of kind %r from the head failed", message[0])

    def _on_message(self, message: list[Any]) -> None:
        if message[0] == control.RENEWED:
            self._renewed = max(self._renewed, message[1])
        elif message[0] == control.END:
            self._end(message[1])
        else:
            self._daemon.on_head_message(message)

    def _renew(self) -> None:
        """Ask for the lease to go on; end everything here if it has run out."""
        daemon = self._daemon
        timeout = daemon.config.node_timeout_seconds
        now = time.monotonic()
        if not self._silent_since and now - self._renewed > timeout:
            self._end(
                f"the head was not heard for {now - self._renewed:.1f} s: it has given this node up by now"
            )
            return
        assert self._remote is not None
        self._remote.up([control.RENEW, now])
        daemon.call_later(timeout / 6, self._renew)

    def _renew_lease(self) -> None:
        """Keep the metadata store for this head alone; without it this is no head any more."""
        daemon = self._daemon
        assert daemon.head is not None
        seconds = daemon.config.node_timeout_seconds
        if not daemon.head.renew_lease(daemon.session.node_id, seconds):
            self._end("another head has taken over the metadata store")
            return
        daemon.call_later(seconds / 4, self._renew_lease)

    def _end(self, reason: str) -> None:
        """Fence this node off: nothing of it may go on."""
        _log.error("this node ends: %s", reason)
        self._daemon.end()

    def _write_node_file(self) -> None:
        daemon = self._daemon
        known = {
            "pid": os.getpid(),
            "number": daemon.number,
            "node_id": daemon.session.node_id.hex(),
            "address": self.address,
            "head_address": self.head_address,
            "is_head": daemon.head is not None,
            "started": time.time(),
            "dashboard_url": daemon.dashboard.url,
        }
        path = os.path.join(daemon.session.folder, NODE_FILE)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(known, file)
        os.rename(path + ".new", path)

    def facts(self) -> dict[str, str]:
        """Return what a person may want to know of this node."""
        return {
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "python": python_version(),
            "shoal": VERSION,
        }

    def close(self) -> None:
        """Say goodbye and stop listening."""
        self._companions.close()
        self._door.close()
        if self._remote is not None:
            self._remote.up([control.LEAVING, "it was stopped"])
            time.sleep(0.05)  # the goodbye is on its way; without it the head waits for the lease to run out
            self._remote.close()
        if self._server is not None:
            time.sleep(0.05)
            self._server.close()


def reachable_host(host: str, towards: str) -> str:
    """Return the address under which others reach what listens on `host`: for "any", the one used towards a peer."""
    if host not in ("0.0.0.0", "::"):
        return host
    family = socket.AF_INET if host == "0.0.0.0" else socket.AF_INET6
    target = towards.rpartition(":")[0].strip("[]") or (
        "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
    )
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))  # sends nothing: it asks for the route
        except OSError:
            return "127.0.0.1" if family == socket.AF_INET else "::1"
        return str(probe.getsockname()[0])
