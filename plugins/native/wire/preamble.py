"""What a TCP connection begins with: whom it is for. It comes before the handshake and proves nothing."""

from __future__ import annotations

from typing import Final

_PREAMBLE: Final = b"SHOAL/1 "
FIRST: Final = _PREAMBLE[:1]  # neither TLS nor HTTP/2 begins with it
PREAMBLE_SIZE: Final = 16
TRANSFER: Final = b"transfer"  # the node's service that sends the bytes of objects
CLIENT: Final = b"client\0\0"  # the node's service that lets drivers from outside the cluster in
DOOR_SUFFIX: Final = ".d"  # of the socket where a process takes connections that its daemon has accepted


def naming(process: bytes) -> bytes:
    """Return the first bytes of a TCP connection to a process (8 bytes), to TRANSFER or to CLIENT."""
    return _PREAMBLE + process


def named(data: bytes) -> bytes | None:
    """Return whom a connection is for, None if these bytes are something else."""
    return data[8:] if len(data) == PREAMBLE_SIZE and data.startswith(_PREAMBLE) else None
