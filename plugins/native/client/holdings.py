"""What this process holds of objects, and by what, for `shoal memory`.

Nothing is counted for this while work goes on: whoever asks pays, by a walk over what the garbage collector knows.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.native.client.records import Record, Task
from shoal.native.wire import kinds
from shoal.native.wire.nodes import number_of

if TYPE_CHECKING:
    from shoal.interfaces.refs import ObjectRef
    from shoal.native.client.client import Client

_OURS = 3  # references to a reference while it is looked at: the table's, the loop's and the argument
_MOST = 10_000  # the largest objects; of the others only how many there are
_STATES = {
    None: "PENDING",
    kinds.PLAIN: "INLINE",
    kinds.PACKED: "INLINE",
    kinds.STORED: "STORED",
    kinds.ERROR: "ERROR",
}


def tell_soon(client: Client, number: int) -> None:
    """Have the daemon's question answered. Called with the lock held."""
    # Without the lock and after the current events: it takes a walk over all that the collector knows.
    client.reactor.call_soon_unlocked(lambda: tell(client, number))


def tell(client: Client, number: int) -> None:
    """Answer the daemon's question of this number. Takes the lock."""
    packed = msgspec.msgpack.encode(holdings(client))
    with client.reactor.lock:
        if client.broken is None and not client.closed:
            client.request_later("holdings_are", [number, packed], lambda ok, value: None)
            client.reactor.flush()


def holdings(client: Client) -> dict[str, Any]:
    """Return what this process holds: {"objects": [...], "omitted": how many smaller ones}. Takes the lock.

    An object's entry has `object`, `owned`, `state`, `size` (bytes), `made_by` ("put" or the function), `call_site`
    ("" unless the setting `record_call_sites` is on), `nodes` (numbers of those with its bytes, as its owner knows) and
    what holds it here: `local` (references of the program), `queued` (arguments of unfinished calls), `lineage`
    (arguments of finished calls that may have to run again), `captured` (in values of other objects), and of an owned
    object `borrowed` ({process: references}).
    """
    with client.reactor.lock:
        mine, tasks = _known(client)
        inside = _Inside()
        for task in tasks:
            what = "queued" if any(record.status is None for record in task.returns) else "lineage"
            inside.add(what, (ref for _, ref in task.slots or ()))
            inside.add(what, task.held or ())
        for record in mine:
            inside.add("captured", record.contained or ())
        entries = [_entry(client, record, inside.of(record)) for record in mine]
    entries.sort(key=lambda entry: -entry["size"])
    return {"objects": entries[:_MOST], "omitted": max(0, len(entries) - _MOST)}


class _Inside:
    """References that calls and values hold, and not (only) the program."""

    def __init__(self) -> None:
        self._counts: dict[bytes, Counter[str]] = {}
        self._holders: Counter[int] = Counter()
        self._refs: dict[int, ObjectRef[Any]] = {}
        self._own: Counter[bytes] | None = None

    def add(self, what: str, refs: Iterable[ObjectRef[Any]]) -> None:
        for ref in refs:
            self._counts.setdefault(ref.record.object_id, Counter())[what] += 1
            self._holders[id(ref)] += 1
            self._refs[id(ref)] = ref

    def of(self, record: Record) -> dict[str, int]:
        """Return how many hold an object, and `local`: how many references the program has, itself."""
        if self._own is None:
            # One that the program holds too is counted by Python once more than by us, by the table and by the loop.
            self._own = Counter()
            for key, ref in self._refs.items():
                if sys.getrefcount(ref) <= self._holders[key] + _OURS:
                    self._own[ref.record.object_id] += 1
        counts: Counter[str] = self._counts.get(record.object_id, Counter())
        held = {what: counts.get(what, 0) for what in ("queued", "lineage", "captured")}
        return {"local": max(0, record.local - self._own[record.object_id]), **held}


def _known(client: Client) -> tuple[list[Record], list[Task]]:
    """Return the objects that something here refers to, and the calls that were made here."""
    records: dict[bytes, Record] = {}
    tasks: list[Task] = []
    for one in gc.get_objects():
        if type(one) is Record:
            # References to objects of an earlier session of this process are as good as none.
            ours = one.object_id[:8] == client.worker_id or client.objects.find(one.object_id) is one
            if ours and (one.local or one.borrowers):
                records[one.object_id] = one
        elif type(one) is Task:
            tasks.append(one)
    return list(records.values()), tasks


def _entry(client: Client, record: Record, held: dict[str, int]) -> dict[str, Any]:
    object_id = record.object_id
    nodes = set(client.objects.copies_of(object_id))
    size = 0
    if record.status == kinds.STORED:
        size, creator = record.payload
        nodes.add(number_of(creator))
    elif record.status is not None:
        size = len(record.payload or b"")
    made_by = "put" if record.put else ""
    if record.task is not None:
        made_by = record.task.function.name
    return {
        "object": object_id,
        "owned": record.owned,
        "state": _STATES.get(record.status, "?"),
        "size": size,
        "made_by": made_by,
        "call_site": client.call_sites.get(object_id, ""),
        "nodes": sorted(nodes),
        **held,
        "borrowed": dict(record.borrowers or {}),
    }


def call_site() -> str:
    """Return "file:line function" of the innermost frame that is not ours."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "shoal":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
