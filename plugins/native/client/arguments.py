"""The arguments of a call: pickled, with references in their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.errors import NotInitialized
from shoal.interfaces.refs import ObjectRef
from shoal.native.client.records import Record, Task
from shoal.native.client.values import store_payload
from shoal.native.wire import kinds
from shoal.serial import dump_call, pack_bytes

if TYPE_CHECKING:
    from shoal.native.client.client import Client

EMPTY_CALL = b"\x80\x05)}\x86."  # pickle of ((), {})


def make_task(
    client: Client,
    prepared: Any,
    function: Callable[..., Any] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Task:
    """Pickle the arguments of a call. Called without the lock. Raises NotSerializable, ObjectStoreFull."""
    counter = next(client.counters)
    if not args and not kwargs:
        return Task(counter, prepared, EMPTY_CALL)
    slots: list[tuple[int | str, ObjectRef[Any]]] | None = None
    for index, value in enumerate(args):
        if type(value) is ObjectRef:
            slots = slots or []
            slots.append((index, value))
    if kwargs:
        for name, value in kwargs.items():
            if type(value) is ObjectRef:
                slots = slots or []
                slots.append((name, value))
    if slots is not None:
        _refuse_strangers(client, slots)
        args = tuple([None if type(value) is ObjectRef else value for value in args])
        if kwargs:
            kwargs = {n: None if type(value) is ObjectRef else value for n, value in kwargs.items()}
    refs: list[ObjectRef[Any]] = []
    payload = dump_call(function, prepared.name, args, kwargs, refs)  # type: ignore[arg-type]
    if not payload.buffers and not refs and slots is None and len(payload.data) <= client.inline_max:
        return Task(counter, prepared, payload.data)
    task = Task(counter, prepared, payload.data)
    task.slots = slots
    extra: dict[str, Any] = {}
    if refs:
        task.held = refs
    if payload.size > client.inline_max:
        object_id = client.object_id(next(client.counters), 0)
        stored = store_payload(client, payload, object_id)
        record = Record(object_id, True, None)
        record.status = kinds.STORED
        record.payload = stored
        task.large = record
        task.payload = b""
        extra["o"] = object_id
        extra["z"] = payload.size
    elif payload.buffers:
        task.payload = pack_bytes(payload)
        extra["p"] = True
    task.extra = extra
    return task


def _refuse_strangers(client: Client, slots: list[tuple[int | str, ObjectRef[Any]]]) -> None:
    """Raise NotInitialized for a reference of a session that has ended: its value may be gone at any moment."""
    engine = client.engine
    for key, ref in slots:
        if ref.engine is not engine:
            which = f"argument {key + 1}" if isinstance(key, int) else f"argument {key!r}"
            raise NotInitialized(f"{which} is {ref!r} of a session that has ended; make it anew in this one")


def resolve(client: Client, task: Task, ready: Callable[[Task], None]) -> bool:
    """Return whether every argument that is a reference has its value; else `ready` is called when they all have.

    Called with the lock held.
    """
    assert task.slots is not None
    missing = {}
    for _, ref in task.slots:
        record: Record = ref.record
        if record.status is None:
            missing[record.object_id] = record
    if not missing:
        return True
    task.waiting = len(missing)

    def arrived() -> None:
        task.waiting -= 1
        if not task.waiting:
            ready(task)

    for record in missing.values():
        record.watch(arrived)
    client.objects.want(list(missing.values()))
    return False


def failed_argument(task: Task) -> Record | None:
    """Return the first argument whose value is an error."""
    for _, ref in task.slots or ():
        if ref.record.status == kinds.ERROR:
            record: Record = ref.record
            return record
    return None


def extra_for(client: Client, task: Task) -> dict[str, Any] | None:
    """Return what goes beside the arguments in the message: values of references, identifiers of those inside."""
    extra = task.extra
    if extra is None:
        return None
    extra = dict(extra)
    if task.held:
        extra["r"] = client.objects.export(task.held)
    if task.slots:
        slots = []
        for key, ref in task.slots:
            record: Record = ref.record
            inside = client.objects.export(record.contained) if record.contained else None
            slots.append([key, record.object_id, record.status, record.payload, inside])
            if record.status == kinds.STORED:
                client.objects.export((ref,))
        extra["s"] = slots
    return extra
