"""What lies in a store's folder: names of objects, and what a dead process left."""

from __future__ import annotations

import contextlib
import os

from shoal.stores.accounts import Accounts, client_hash
from shoal.stores.segment import read_owner

_DIGITS = 40  # of an object identifier in hexadecimal


def object_names(folder: str) -> list[str]:
    """Return the names of the sealed objects' files; every other name has a dot in it."""
    return [name for name in os.listdir(folder) if len(name) == _DIGITS and "." not in name]


def deleted_name(folder: str, object_id: bytes, inode: int) -> str:
    """Return the name under which another process leaves a deleted object for its creator."""
    return f"{folder}/d.{object_id.hex()}.{inode}"


def sweep_client(folder: str, accounts: Accounts, client: str) -> None:
    """Remove a dead client's files that are no objects, and leave its objects to whoever deletes them."""
    prefix = client_hash(client)
    with accounts.locked():
        slots = accounts.slots_of(client)
        sealed = dict.fromkeys(slots, 0)
        for name in os.listdir(folder):
            kind, _, rest = name.partition(".")
            path = f"{folder}/{name}"
            with contextlib.suppress(FileNotFoundError):
                if kind in ("t", "p", "z", "s") and rest.startswith(prefix + "."):
                    os.unlink(path)
                elif slots and (len(name) == _DIGITS or kind == "d"):
                    owner = read_owner(path)
                    if owner is None or owner[2] not in sealed:
                        continue
                    if kind == "d":
                        os.unlink(path)
                    else:
                        sealed[owner[2]] += owner[0]
        for slot, size in sealed.items():
            accounts.orphan(slot, size)
