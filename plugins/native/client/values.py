"""Values to what a record holds, and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shoal.errors import ObjectStoreFull
from shoal.native.wire import kinds
from shoal.serial import Payload, dumps, load_error, loads, pack_bytes, pack_into, unpack

if TYPE_CHECKING:
    from shoal.interfaces.refs import ObjectRef
    from shoal.native.client.client import Client
    from shoal.native.client.records import Record

NONE_PICKLE = b"\x80\x05N."  # of None
_ROOM_SECONDS = 30.0  # how long a full store may take to make room


def encode(client: Client, value: Any, object_id: bytes) -> tuple[int, Any, list[ObjectRef[Any]] | None]:
    """Return (status, payload, references inside). A large value is in the store when this returns.

    Called without the lock. Raises NotSerializable, ObjectStoreFull and OutOfDisk.
    """
    payload = dumps(value)
    refs = list(payload.refs) or None
    status, encoded = encode_payload(client, payload, object_id)
    return status, encoded, refs


def encode_payload(client: Client, payload: Payload, object_id: bytes) -> tuple[int, Any]:
    """Return (status, payload) for what is pickled already."""
    if not payload.buffers:
        if len(payload.data) <= client.inline_max:
            return kinds.PLAIN, payload.data
    elif payload.size <= client.inline_max:
        return kinds.PACKED, pack_bytes(payload)
    return kinds.STORED, store_payload(client, payload, object_id)


def store_payload(client: Client, payload: Payload, object_id: bytes) -> list[Any]:
    """Write a payload into the node's store; return [size, creator]."""
    size = payload.size
    view = _create(client, object_id, size)
    try:
        pack_into(view, payload)
    except BaseException:
        view.release()
        client.store.abort(object_id)
        raise
    view.release()
    client.store.seal(object_id)
    return [size, client.worker_id]


def _create(client: Client, object_id: bytes, size: int) -> memoryview:
    """Reserve room, waiting a while for the node to make some."""
    deadline = 0.0
    while True:
        with client.reactor.lock:
            client.objects.collect()
        try:
            return client.store.create(object_id, size)
        except ValueError:
            # An earlier try stored it and died before it could answer, or this node has a copy of the lost original.
            if not client.store.delete(object_id):
                raise
        except ObjectStoreFull:
            now = time.monotonic()
            deadline = deadline or now + _ROOM_SECONDS
            if now >= deadline or size > client.store.statistics().capacity:
                raise
            if not client.make_room(size):
                raise


def decode(client: Client, record: Record) -> Any:
    """Return a record's value, raise its error, or return `MISSING` if the store has lost the bytes."""
    status = record.status
    if status == kinds.PLAIN:
        return loads(record.payload, (), record.contained or ())
    if status == kinds.ERROR:
        raise load_error(record.payload)
    return decode_parts(client, record.object_id, status, record.payload, record.contained or ())


def decode_parts(client: Client, object_id: bytes, status: int | None, payload: Any, refs: Any) -> Any:
    """Return the value of (status, payload), raise its error, or return `MISSING`."""
    if status == kinds.PLAIN:
        return loads(payload, (), refs)
    if status == kinds.PACKED:
        data, buffers = unpack(payload)
        return loads(data, buffers, refs)
    if status == kinds.STORED:
        view = client.store.get(object_id)
        if view is None:
            return MISSING
        data, buffers = unpack(view)
        return loads(data, buffers, refs)
    if status == kinds.ERROR:
        raise load_error(payload)
    return MISSING


class _Missing:
    __slots__ = ()


MISSING = _Missing()
