"""The object store of a node, as a client outside the cluster sees it: through the gateway, in chunks."""

from __future__ import annotations

import mmap
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.errors import ObjectStoreFull, OutOfDisk, SystemFailure
from shoal.interfaces.store import ObjectStore, StoreStatistics
from shoal.native.remote.flight import Flight
from shoal.native.remote.tunnel import GatewayError
from shoal.native.wire import line as words

if TYPE_CHECKING:
    from shoal.native.remote.tunnel import Tunnel

_REMEMBERED = 100_000

Arrived = Callable[["Buffer | None"], None]

_ERRORS: dict[str, type[Exception]] = {
    "KeyError": KeyError,
    "ObjectStoreFull": ObjectStoreFull,
    "OutOfDisk": OutOfDisk,
    "SystemFailure": SystemFailure,
    "ValueError": ValueError,
}


class Buffer(mmap.mmap):
    """Memory of one object's bytes. It goes back to the system with the last view of it."""


def _buffer(size: int) -> Buffer:
    return Buffer(-1, max(1, size))


class _Fetch:
    """One object that is on its way here."""

    __slots__ = ("asked", "buffer", "left", "missing", "object_id", "size", "then")

    def __init__(self, object_id: bytes, size: int) -> None:
        self.object_id = object_id
        self.size = size
        self.buffer = _buffer(size)
        self.asked = 0  # bytes that were asked for
        self.left = size
        self.missing = False
        self.then: list[Arrived] = []


class RemoteStore(ObjectStore):
    """Writes go to the gateway's node and are there when `seal` returns. What is read stays here as long as it is used.

    `create`, `seal`, `get` and `statistics` wait for the gateway and are called without the lock. They raise
    SystemFailure when the line is over.
    """

    name: ClassVar[str] = "remote"
    shared: ClassVar[bool] = True
    __slots__ = ("_fetches", "_flying", "_here", "_made", "_queue", "_there", "_tunnel")

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._made: dict[bytes, tuple[Buffer, int]] = {}
        self._there: OrderedDict[bytes, None] = OrderedDict()  # known to be on the gateway's node
        self._here: weakref.WeakValueDictionary[bytes, Buffer] = weakref.WeakValueDictionary()
        self._fetches: dict[bytes, _Fetch] = {}
        self._queue: deque[_Fetch] = deque()
        self._flying = 0  # chunks that were asked for and have not come

    # Writing

    def create(self, object_id: bytes, size: int) -> memoryview:
        try:
            self._ask("create", object_id, size)
        except KeyboardInterrupt:
            self.abort(object_id)
            raise
        buffer = _buffer(size)
        self._made[object_id] = (buffer, size)
        return memoryview(buffer)[:size]

    def seal(self, object_id: bytes) -> None:
        buffer, size = self._made.pop(object_id)
        flight = Flight(self._tunnel)
        try:
            with memoryview(buffer) as view:
                for start in range(0, size, words.CHUNK):
                    piece = bytes(view[start : min(size, start + words.CHUNK)])
                    flight.send("write", object_id, start, piece)
            flight.finish()
        except BaseException as error:  # Ctrl-C as well: the room there is to be given back
            self.abort(object_id)
            if isinstance(error, GatewayError):
                raise _translated(error) from None
            raise
        self._ask("seal", object_id)
        self.note(object_id)

    def abort(self, object_id: bytes) -> None:
        self._made.pop(object_id, None)
        with self._tunnel.reactor.lock:
            self._tunnel.tell("abort", object_id)

    # Reading

    def get(self, object_id: bytes) -> memoryview | None:
        buffer = self._here.get(object_id)
        if buffer is None:
            size = int(self._ask("find", object_id))
            if size < 0:
                self._there.pop(object_id, None)
                return None
            [buffer] = self.fetch([(object_id, size)], None) or [None]
            if buffer is None:
                return None
        return memoryview(buffer).toreadonly()

    def fetch(
        self, wanted: Iterable[tuple[bytes, int]], deadline: float | None
    ) -> list[Buffer | None] | None:
        """Bring objects of these sizes here; return their memory, None in the place of one that is not there.

        Returns None at the deadline. Takes the lock. Raises SystemFailure.
        """
        asked = list(wanted)
        found: dict[bytes, Buffer | None] = {}
        with self._tunnel.reactor.lock:
            for object_id, size in asked:

                def arrived(buffer: Buffer | None, object_id: bytes = object_id) -> None:
                    found[object_id] = buffer

                self.begin(object_id, size, arrived)
        count = len({object_id for object_id, _ in asked})
        if not self._tunnel.wait_for(lambda: len(found) == count, deadline):
            return None
        return [found[object_id] for object_id, _ in asked]

    def begin(self, object_id: bytes, size: int, then: Arrived) -> None:
        """Bring an object here; `then` gets its memory, or None if it is not there. Called with the lock held."""
        buffer = self._here.get(object_id)
        if buffer is not None:
            then(buffer)
            return
        fetch = self._fetches.get(object_id)
        if fetch is None:
            fetch = self._fetches[object_id] = _Fetch(object_id, size)
            self._queue.append(fetch)
        fetch.then.append(then)
        self._pump()

    def _pump(self) -> None:
        while self._queue and self._flying < words.READ_AHEAD:
            fetch = self._queue[0]
            start = fetch.asked
            count = min(words.CHUNK, fetch.size - start)
            fetch.asked += count
            if fetch.asked >= fetch.size or fetch.missing:
                self._queue.popleft()
            if fetch.missing:
                continue
            self._flying += 1
            self._tunnel.ask(
                "read",
                [fetch.object_id, start, count],
                lambda wrong, value, fetch=fetch, start=start: self._came(fetch, start, wrong, value),  # type: ignore[misc]
            )

    def _came(self, fetch: _Fetch, start: int, wrong: str, value: Any) -> None:
        self._flying -= 1
        if wrong or value is None:
            fetch.missing = True
        elif not fetch.missing:
            fetch.buffer[start : start + len(value)] = value
            fetch.left -= len(value)
        if fetch.missing or not fetch.left:
            if self._fetches.get(fetch.object_id) is fetch:
                del self._fetches[fetch.object_id]
            if fetch.missing:
                self._there.pop(fetch.object_id, None)
            else:
                self._here[fetch.object_id] = fetch.buffer
            waiting, fetch.then = fetch.then, []
            for then in waiting:
                then(None if fetch.missing else fetch.buffer)
        self._pump()

    def contains(self, object_id: bytes) -> bool:
        return object_id in self._there or object_id in self._here

    def note(self, object_id: bytes) -> None:
        """Remember that an object is on the gateway's node; who forgets it asks once more than needed."""
        self._there[object_id] = None
        if len(self._there) > _REMEMBERED:
            self._there.popitem(last=False)

    # The rest

    def delete(self, object_id: bytes) -> bool:
        """Have the gateway's node forget it; never waits, so it tells only whether this process knew of it."""
        known = self.contains(object_id)
        self._there.pop(object_id, None)
        self._here.pop(object_id, None)
        self._tunnel.tell("delete", object_id)
        return known

    def ids(self) -> list[bytes]:
        found: list[bytes] = self._ask("ids")
        return found

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(**self._ask("statistics"))

    def relieve(self, size: int) -> int:
        """Have the gateway make room of what this client has stored. Returns 0: it tells nobody how much."""
        with self._tunnel.reactor.lock:
            self._tunnel.tell("relieve", size)
        return 0

    def sweep(self, client: str) -> None:
        self._ask("sweep", client)

    def close(self) -> None:
        self._made.clear()

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return self._tunnel.ask_and_wait(name, *arguments)
        except GatewayError as error:
            raise _translated(error) from None


def _translated(error: GatewayError) -> Exception:
    return _ERRORS.get(error.kind, SystemFailure)(error.text)
