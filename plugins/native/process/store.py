"""Opening the session's object store in a process."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from shoal.interfaces.store import ObjectStore, StoreSettings

if TYPE_CHECKING:
    from shoal.native.process.session import Session


def import_target(target: str) -> Any:
    """Return what an entry point's value "module:name" names: the driver has looked it up and checked it."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def store_class(session: Session) -> type[ObjectStore]:
    """Return the session's store driver."""
    found: type[ObjectStore] = import_target(session.targets["store"])
    return found


def open_store(session: Session, client: str) -> ObjectStore:
    """Open the store for one process."""
    options = dict(session.config.get("store_options", {}))
    settings = StoreSettings(
        folder=session.store_folder,
        capacity=session.store_bytes,
        client=client,
        spill_folder=session.spill_folder,
        options=options,
    )
    return store_class(session)(settings)
