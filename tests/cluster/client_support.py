"""What the tests of drivers outside a cluster share."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shoal
from shoal.cluster_utils import Cluster

SECONDS = 60.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
    """Wait until a condition holds. Raises AssertionError with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.01)


def gateways(cluster: Cluster) -> list[int]:
    """Return the gateways on the head's node."""
    assert cluster.head_node is not None
    folder = cluster.head_node.folder.encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if b"shoal.native.gateway.main" in words and folder in words and state != "Z":
                found.append(int(entry.name))
    return found


def free_port() -> int:
    """Return a port that nobody listens on, and that the system gives nobody by itself meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def credentials(cluster: Cluster) -> str:
    """Return the file that lets a client in."""
    return os.path.join(cluster.init_arguments()["temp_dir"], "credentials")


def connect(cluster: Cluster, address: str = "", **settings: Any) -> Any:
    """Be a driver outside the cluster, whose only way is `address`: by default the head's own port."""
    return shoal.init(
        address=f"shoal://{address or cluster.address}", credentials_file=credentials(cluster), **settings
    )
