"""Facts about the machine of the calling code."""

from __future__ import annotations

import os
import socket


def get_node_ip_address(address: str | None = None) -> str:
    """Return this machine's address as others reach it: the one that a packet to `address` would leave from.

    Without a way out, and where no `address` is given and the machine has no network, that is the loopback address.
    Nothing is sent.
    """
    host, port = "192.0.2.1", 53  # a documentation address: only the routing table is asked
    if address is not None:
        name, separator, number = address.rpartition(":")
        host, port = (name, int(number)) if separator else (address, port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def get_node_instance_id() -> str:
    """Return what the cloud calls this machine, as whoever started it said in the variable RAY_CLOUD_INSTANCE_ID."""
    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")
