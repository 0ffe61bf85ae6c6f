"""Opening the head's metadata store: alone, and where the last head has left it."""

from __future__ import annotations

import os
import time

import attrs

from shoal.config import Config
from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, SupportsLeases
from shoal.native.head.records import Records
from shoal.native.process.session import Session
from shoal.native.process.store import import_target

LEASE = "shoal:head"


def open_metadata(session: Session) -> tuple[Session, Metadata]:
    """Open the store of a session's head; return it, and the session with the number that this node gets.

    A cluster's head takes a lease of the store, so that no other can use it: it waits for one that died a moment ago.
    Raises ConfigError if the store cannot be opened, or another head lives.
    """
    config = Config.from_wire(session.config)
    location = config.metadata_location or os.path.join(session.folder, "metadata.db")
    metadata: Metadata = import_target(session.targets["metadata"])(location, config.metadata_options)
    if not session.standing:
        return session, metadata
    try:
        _take_lease(metadata, session.node_id, config.node_timeout_seconds, location)
        number = Records(metadata, True).load_number()
    except BaseException:
        metadata.close()
        raise
    if number != session.number:
        session = attrs.evolve(session, number=number)
        session.write_settings()
    return session, metadata


def _take_lease(metadata: Metadata, owner: bytes, seconds: float, location: str) -> None:
    if not isinstance(metadata, SupportsLeases):
        return
    deadline = time.monotonic() + 2 * seconds + 2
    while not metadata.acquire(LEASE, owner, seconds):
        if time.monotonic() > deadline:
            other = metadata.holder(LEASE)
            raise ConfigError(
                f"another head, of node {other.hex() if other else '(unknown)'}, lives and uses the metadata store at "
                f"{location}: stop it first, or give this cluster a store of its own (metadata_location)"
            )
        time.sleep(0.1)
