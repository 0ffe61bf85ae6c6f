"""SpillStore: another store with a disk behind it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import attrs

from shoal.errors import ConfigError, ObjectStoreFull, OutOfDisk, describe
from shoal.interfaces.store import ObjectStore, StoreSettings, StoreStatistics, SupportsFiles, SupportsRelief
from shoal.stores.disk import Disk
from shoal.stores.room import full_message

_Block = TypeVar("_Block")
_OURS = {
    "arrow": "shoal.stores.arrow:ArrowStore",
    "heap": "shoal.stores.heap:HeapStore",
    "shm": "shoal.stores.shm:ShmStore",
}


@runtime_checkable
class SupportsChoice(Protocol):
    """A store that helps to choose what to spill."""

    def used(self) -> int:
        """Return the bytes of objects, cheaply."""
        ...

    def charged(self) -> int:
        """Return the bytes that this process answers for."""
        ...

    def in_use(self, object_id: bytes) -> bool:
        """Tell whether moving this process's own object would free nothing, since a view of it lives here."""
        ...

    def reclaim(self) -> int:
        """Notice what others have deleted."""
        ...


class SpillStore(ObjectStore):
    """Moves this process's least recently used objects to disk when memory runs short; reads them there, mapped.

    Options: `inner` is the store in memory: "shm" (default), "arrow", "heap", "package.module:Class" or a class;
    `inner_options` are its options; `high_water` (0.8) is the part of the capacity beyond which create() spills.

    A process can only spill what it created: a node's daemon asks each by `relieve`. Any process reads what any
    other has spilled. With "heap" inside nothing but the disk is shared.
    """

    name: ClassVar[str] = "spill"
    shared: ClassVar[bool] = True
    __slots__ = (
        "_capacity",
        "_choice",
        "_disk",
        "_files",
        "_high_water",
        "_lock",
        "_order",
        "inner",
        "on_spill",
    )

    def __init__(self, settings: StoreSettings) -> None:
        known = ("high_water", "inner", "inner_options")
        unknown = sorted(settings.options.keys() - set(known))
        if unknown:
            raise ConfigError(f"the store 'spill' has no options {unknown}; it has {', '.join(known)}")
        part = settings.options.get("high_water", 0.8)
        if isinstance(part, bool) or not isinstance(part, (int, float)) or not 0 < part <= 1:
            raise ConfigError(f"high_water of the store 'spill' must be > 0 and ≤ 1, got {describe(part)}")
        if not settings.spill_folder:
            raise ConfigError("the store 'spill' needs a spill_folder on a disk")
        inner_class = _resolve(settings.options.get("inner", "shm"))
        inner_options: Mapping[str, Any] = settings.options.get("inner_options", {})
        try:
            self._disk = Disk(settings.spill_folder, settings.client)
        except OSError as error:
            raise ConfigError(f"cannot spill to {settings.spill_folder!r}: {error}") from error
        self.inner = inner_class(attrs.evolve(settings, options=inner_options))
        # Asked once: such a check of a protocol takes as long as all else that create() does.
        self._choice = self.inner if isinstance(self.inner, SupportsChoice) else None
        self._files = self.inner if isinstance(self.inner, SupportsFiles) else None
        self._capacity = settings.capacity
        self._high_water = int(settings.capacity * part)
        self._lock = threading.RLock()
        self.on_spill: Callable[[bytes, int], None] | None = None
        self._order: OrderedDict[bytes, int] = OrderedDict()  # own sealed objects in memory with their sizes

    def create(self, object_id: bytes, size: int) -> memoryview:
        return self._create(self.inner.create, object_id, size)

    def create_file(self, object_id: bytes, size: int) -> tuple[int, int] | None:
        """Do as `create`; see SupportsFiles."""
        return None if self._files is None else self._create(self._files.create_file, object_id, size)

    def _create(self, create: Callable[[bytes, int], _Block], object_id: bytes, size: int) -> _Block:
        with self._lock:
            if size > self._capacity:
                raise ObjectStoreFull(full_message(size, 0, self._capacity))
            no_disk = self._make_room(size)
            while True:
                if self._disk.contains(object_id):
                    raise ValueError(f"object {object_id.hex()} exists")
                try:
                    block = create(object_id, size)
                except ObjectStoreFull:
                    if no_disk is not None:
                        raise no_disk from None
                    if not self._spill(size):
                        raise
                else:
                    self._order[object_id] = -1 - size  # not sealed yet
                    return block

    def seal(self, object_id: bytes) -> None:
        with self._lock:
            self.inner.seal(object_id)
            self._order[object_id] = -1 - self._order[object_id]
            self._order.move_to_end(object_id)

    def abort(self, object_id: bytes) -> None:
        with self._lock:
            self.inner.abort(object_id)
            self._order.pop(object_id, None)

    def get(self, object_id: bytes) -> memoryview | None:
        with self._lock:
            view = self.inner.get(object_id)
            if view is None:
                return self._disk.get(object_id)
            if object_id in self._order:
                self._order.move_to_end(object_id)
            return view

    def contains(self, object_id: bytes) -> bool:
        return self.inner.contains(object_id) or self._disk.contains(object_id)

    def open_file(self, object_id: bytes) -> tuple[int, int, int] | None:
        """Return (descriptor, offset, size) of an object, on disk as in memory, or None; see SupportsFiles."""
        opened = None if self._files is None else self._files.open_file(object_id)
        return opened if opened is not None else self._disk.open_file(object_id)

    def delete(self, object_id: bytes) -> bool:
        with self._lock:
            was_there = self.inner.delete(object_id)
            if was_there:
                self._order.pop(object_id, None)
            return self._disk.delete(object_id) or was_there

    def ids(self) -> list[bytes]:
        return sorted({*self.inner.ids(), *self._disk.ids()})

    def statistics(self) -> StoreStatistics:
        found = self.inner.statistics()
        spilled_objects, spilled = self._disk.used()
        return attrs.evolve(
            found,
            objects=found.objects + spilled_objects,
            spilled_objects=spilled_objects,
            spilled=spilled,
        )

    def relieve(self, size: int) -> int:
        """Free about `size` bytes of memory: first what is only kept warm, then by spilling. Raises OutOfDisk."""
        with self._lock:
            if self._choice is None:
                return self._spill(size)
            before = self._choice.charged()
            while (missing := size - (before - self._choice.charged())) > 0:
                if not self._give_up(missing) and not self._spill(missing):
                    break
            return before - self._choice.charged()

    def reclaim(self) -> int:
        """Notice what other processes have deleted; return how many objects it was."""
        return 0 if self._choice is None else self._choice.reclaim()

    def sweep(self, client: str) -> None:
        self.inner.sweep(client)
        self._disk.sweep(client)

    def close(self) -> None:
        with self._lock:
            self.inner.close()

    # Making room

    def _used(self) -> int:
        return self.inner.statistics().used if self._choice is None else self._choice.used()

    def _make_room(self, size: int) -> OutOfDisk | None:
        """Stay below the mark if that can be done. A full disk matters only if there is no room in memory either."""
        if self._used() + size <= self._high_water:
            return None
        self.reclaim()
        try:
            self._spill(self._used() + size - self._high_water)
        except OutOfDisk as error:
            return error
        return None

    def _give_up(self, size: int) -> int:
        return self.inner.relieve(size) if isinstance(self.inner, SupportsRelief) else 0

    def _spill(self, size: int) -> int:
        """Move objects to disk, least recently used first; return how many bytes of memory that is."""
        freed = 0
        for object_id, length in list(self._order.items()):
            if freed >= size:
                break
            if length < 0 or (self._choice is not None and self._choice.in_use(object_id)):
                continue
            view = self.inner.get(object_id)
            if view is None:  # another process has deleted it
                del self._order[object_id]
                continue
            try:
                self._disk.write(object_id, view)
            finally:
                view.release()
            del self._order[object_id]
            if not self.inner.delete(object_id):  # deleted by another process while it was written
                self._disk.delete(object_id)
            elif self.on_spill is not None:
                self.on_spill(object_id, length)
            freed += length
        return freed


def _resolve(inner: Any) -> type[ObjectStore]:
    if isinstance(inner, str):
        module, _, name = _OURS.get(inner, inner).partition(":")
        try:
            inner = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"inner of the store 'spill' must be one of {', '.join(_OURS)} or 'package.module:Class', got "
                f"{inner!r}: {error}"
            ) from error
    if not (isinstance(inner, type) and issubclass(inner, ObjectStore)):
        raise ConfigError(f"inner of the store 'spill' must be a class of ObjectStore, got {describe(inner)}")
    return inner
