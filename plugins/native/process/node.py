"""Nodes of a cluster on this machine: started, found, stopped. A node goes on when whoever started it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import attrs

from shoal.config import Config
from shoal.errors import ConfigError, SystemFailure
from shoal.native.process.folders import NODE_FILE, sessions_folder
from shoal.native.process.launch import prepare_session
from shoal.native.process.security import plan_security
from shoal.native.process.session import Session
from shoal.native.process.spawn import start_daemon
from shoal.native.security.bundle import Bundle
from shoal.native.wire.addresses import split_address
from shoal.native.wire.nodes import driver_id

_STOP_SECONDS = 10.0


@attrs.frozen(kw_only=True)
class NodeInfo:
    """A node of a cluster that runs on this machine."""

    folder: str
    pid: int  # of its daemon
    number: int
    node_id: str  # hexadecimal
    address: str  # host:port of its door
    head_address: str  # host:port of the cluster's head
    is_head: bool
    started: float  # seconds since the epoch
    dashboard_url: str = ""  # of a head that has one

    @property
    def name(self) -> str:
        """The session's name."""
        return os.path.basename(self.folder)


def start_node(
    config: Config,
    bundle: Bundle,
    head_address: str = "",
    given_up: Callable[[], bool] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> NodeInfo:
    """Start a node: a head, or one that joins the head at `head_address`. Returns when it serves.

    Whoever starts it has `bundle`; the node gets the token of it, and a certificate that is made of it if need be.
    `given_up`, if there is one, is asked while the node comes up whether nobody wants it any more; `on_wait` is told
    what the node waits for.
    Raises ConfigError, SystemFailure with what the node says if it does not come up.
    """
    _require_grpc()
    plan = plan_security(config, bundle, head_address)
    daemon = start_daemon(config.temp_dir, config.worker_preload)
    try:
        tls, tls_host = plan.install(daemon.folder)
        prepare_session(
            config,
            driver_id(0),
            daemon.name,
            daemon.folder,
            daemon.store_folder,
            token=plan.bundle.token,
            tls=tls,
            tls_host=tls_host,
            head_address=head_address,
            standing=True,
        )
        daemon.begin()
        daemon.wait_ready(config.worker_start_timeout_seconds + config.head_wait_seconds, given_up, on_wait)
        info = read_node(daemon.folder)
    except BaseException:
        daemon.end()
        raise
    if info is None:
        daemon.end()
        raise SystemFailure(f"the node in {daemon.folder} came up and is gone again; see its logs")
    return info


def read_node(folder: str) -> NodeInfo | None:
    """Return the node that lives in a session's folder, None if none does."""
    try:
        with open(os.path.join(folder, NODE_FILE), encoding="utf-8") as file:
            fields: dict[str, Any] = json.load(file)
        os.kill(fields["pid"], 0)
    except (OSError, ValueError):
        return None
    return NodeInfo(folder=folder, **fields)


def find_nodes(temp_dir: str | None = None) -> list[NodeInfo]:
    """Return the nodes of clusters that run on this machine, in the order they were started."""
    parent = sessions_folder(temp_dir)
    found = [read_node(os.path.join(parent, name)) for name in os.listdir(parent)]
    return sorted((info for info in found if info is not None), key=lambda info: info.started)


def find_node(address: str, temp_dir: str | None = None) -> NodeInfo:
    """Return the node of this machine that is part of the cluster at `address` ("auto": of the only one there is).

    The folder of a node's session, which is the address that a program's own context tells, names that node.
    Raises ConfigError if there is none, or "auto" could mean several.
    """
    if os.path.isabs(address):
        return _node_in(address)
    nodes = find_nodes(temp_dir)
    heads = sorted({info.head_address for info in nodes})
    if address == "auto":
        if not nodes:
            raise ConfigError(
                'address="auto": no node of a cluster runs on this machine; start one with `shoal start --head` or '
                "`shoal start --address HOST:PORT`, or leave address out for a session of its own"
            )
        if len(heads) > 1:
            raise ConfigError(
                f'address="auto": this machine has nodes of several clusters: {", ".join(heads)}'
            )
        return nodes[-1]
    split_address(address)
    for info in nodes:
        if info.head_address == address or info.address == address:
            return info
    there = f"; nodes here are of {', '.join(heads)}" if heads else ""
    raise ConfigError(
        f"address={address!r}: no node of that cluster runs on this machine{there}. Start one here with `shoal start "
        f'--address {address}`, or reach it from outside with address="shoal://{address}"'
    )


def _node_in(folder: str) -> NodeInfo:
    info = read_node(folder)
    if info is None:
        raise ConfigError(
            f"address={folder!r}: no node of a cluster lives in that folder. A session that a program started for "
            "itself takes no other programs: start a cluster with `shoal start --head`"
        )
    return info


def stop_node(info: NodeInfo, force: bool = False) -> None:
    """End a node and all that runs on it; nothing of it is left on this machine. Raises SystemFailure."""
    number = signal.SIGKILL if force else signal.SIGTERM
    with contextlib.suppress(ProcessLookupError):
        os.kill(info.pid, number)
    deadline = time.monotonic() + _STOP_SECONDS
    while lives(info.pid):
        if time.monotonic() > deadline:
            if force:
                raise SystemFailure(f"process {info.pid} of node {info.node_id} does not end")
            stop_node(info, force=True)
            return
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Tell whether a process runs: one that has ended and was not reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def session_of(info: NodeInfo) -> Session:
    """Return the session of a node, for a driver that joins it. Raises SystemFailure."""
    return Session.read(info.folder)


def _require_grpc() -> None:
    try:
        import google.protobuf  # noqa: F401
        import grpc  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"a cluster needs {error.name}: install shoal[cluster]") from error
