"""References: the names of values that may not exist yet."""

from __future__ import annotations

import concurrent.futures
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from shoal.ids import JobID, ObjectID, TaskID

if TYPE_CHECKING:
    from shoal.interfaces.engine import Engine

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ObjectRef(Generic[T_co], Awaitable[T_co]):
    """The name of one immutable value, made by a task, an actor call or `put`.

    Equal and hashed by identifier. The value lives at least as long as a reference to it, anywhere. `record` belongs
    to the engine, and `on_drop(record)` is called when this Python object goes away: it must not block, take a lock
    or raise, since the garbage collector may run it at any moment.

    Example: `ref = f.remote(1); value = shoal.get(ref)` or, in async code, `value = await ref`.
    """

    __slots__ = ("__weakref__", "_id", "engine", "on_drop", "record")

    def __init__(self, object_id: bytes, engine: Engine, record: Any, on_drop: Callable[[Any], None]) -> None:
        self._id = object_id
        self.engine: Engine = engine
        self.record: Any = record
        self.on_drop: Callable[[Any], None] = on_drop

    def __del__(self) -> None:
        try:
            self.on_drop(self.record)
        except AttributeError:  # __init__ did not get that far
            return

    @property
    def id(self) -> ObjectID:
        """The object's identifier."""
        return ObjectID(self._id)

    def binary(self) -> bytes:
        """Return the identifier's bytes."""
        return self._id

    def hex(self) -> str:
        """Return the identifier in hexadecimal."""
        return self._id.hex()

    def is_nil(self) -> bool:
        """Tell whether the identifier names nothing."""
        return self.id.is_nil()

    def task_id(self) -> TaskID:
        """Return the task that makes the value."""
        return TaskID.told(self._id[:16], job=bytes(self.engine.context().job_id))

    def job_id(self) -> JobID:
        """Return the program that the reference belongs to."""
        return JobID(self.engine.context().job_id)

    def owner_address(self) -> str:
        """Return the process that owns the value, in hexadecimal."""
        return self.id.owner().hex()

    def call_site(self) -> str:
        """Return where the reference was made: empty, since that is not recorded."""
        return ""

    def tensor_transport(self) -> str | None:
        """Return how the actor that makes the value hands its tensors out: None, they travel like all values.

        Only the process that made the call, or the put, knows.
        """
        return _transports.get(self)

    def redis_shard_hash(self) -> int:
        """Return 64 well mixed bits of the identifier."""
        return self.id.redis_shard_hash()

    @classmethod
    def size(cls) -> int:
        """Return the width of the identifier in bytes."""
        return ObjectID.SIZE

    @classmethod
    def from_binary(cls, id_bytes: bytes) -> ObjectRef[Any]:
        """Return what names the value with this identifier; it compares equal to the reference, and holds no value."""
        return ObjectName(ObjectID(id_bytes))

    @classmethod
    def from_hex(cls, hex_id: str) -> ObjectRef[Any]:
        """Return what names the value whose identifier this is in hexadecimal; it holds no value."""
        return ObjectName(ObjectID.from_hex(hex_id))

    @classmethod
    def from_random(cls) -> ObjectRef[Any]:
        """Return a name of nothing, unlike all others."""
        return ObjectName(ObjectID.from_random())

    @classmethod
    def nil(cls) -> ObjectRef[Any]:
        """Return the name of nothing."""
        return ObjectName(ObjectID.nil())

    def future(self) -> concurrent.futures.Future[T_co]:
        """Return a `concurrent.futures.Future` that completes as the value, or its error, arrives."""
        return self.engine.future(self)

    def __await__(self) -> Generator[Any, None, T_co]:
        return self.engine.loop_future(self).__await__()

    def as_future(self, _internal: bool = False) -> Any:
        """Return an `asyncio.Future` of the running loop."""
        return self.engine.loop_future(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"ObjectRef({self._id.hex()})"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} can only be pickled by Shoal: pass it as an argument, return it or put() it inside another "
            "value. A plain pickle would not keep its value alive."
        )

    def __iter__(self) -> Any:
        raise TypeError(
            "an ObjectRef is not iterable; call shoal.get() on it first, or ask for num_returns > 1"
        )

    def __bool__(self) -> bool:
        return True


# Beside the references: few have one, and all would pay for a slot.
_transports: weakref.WeakKeyDictionary[ObjectRef[Any], str] = weakref.WeakKeyDictionary()


def note_transport(ref: ObjectRef[Any], transport: str) -> None:
    """Remember how the tensors of a value travel, for `tensor_transport()`."""
    _transports[ref] = transport


class ObjectName(ObjectRef[Any]):
    """The name of a value without a share in it, for comparing and looking up: the value cannot be got through it."""

    __slots__ = ()

    def __init__(self, object_id: bytes) -> None:
        super().__init__(bytes(object_id), cast("Engine", None), None, _drop_nothing)

    def _refuse(self) -> NoReturn:
        raise TypeError(
            f"{self!r} was made from an identifier, so it only names its value; keep the ObjectRef that the call "
            "returned"
        )

    def future(self) -> concurrent.futures.Future[Any]:
        """Raise TypeError: there is nothing to wait for."""
        self._refuse()

    def as_future(self, _internal: bool = False) -> Any:
        """Raise TypeError: there is nothing to wait for."""
        self._refuse()

    def __await__(self) -> Generator[Any, None, Any]:
        self._refuse()

    def task_id(self) -> TaskID:
        """Return the task that makes the value."""
        return self.id.task_id()

    def job_id(self) -> JobID:
        """Raise TypeError: a name belongs to no program."""
        self._refuse()

    def __reduce__(self) -> Any:
        return ObjectName, (self._id,)


def _drop_nothing(record: Any) -> None:
    """A name keeps nothing alive."""


class ObjectRefGenerator(Generic[T], Iterator["ObjectRef[T]"], AsyncIterator["ObjectRef[T]"]):
    """The references to what a streaming generator yields, one after the other, as they are made.

    Iterate with `for ref in gen` or `async for ref in gen`. `record` belongs to the engine.
    """

    __slots__ = ("__weakref__", "engine", "on_drop", "record", "task")

    def __init__(self, task: bytes, engine: Engine, record: Any, on_drop: Callable[[Any], None]) -> None:
        self.task: bytes = task
        self.engine: Engine = engine
        self.record: Any = record
        self.on_drop: Callable[[Any], None] = on_drop

    def __del__(self) -> None:
        try:
            self.on_drop(self.record)
        except AttributeError:  # __init__ did not get that far
            return

    def __iter__(self) -> ObjectRefGenerator[T]:
        return self

    def __next__(self) -> ObjectRef[T]:
        return self.engine.stream_next(self, None)

    def __aiter__(self) -> ObjectRefGenerator[T]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        import asyncio

        ref = await asyncio.wrap_future(self.engine.stream_next_future(self))
        if ref is None:
            raise StopAsyncIteration
        return ref

    # What plain generators have besides. This one runs elsewhere: all that it can be told is to end.

    def send(self, value: None) -> ObjectRef[T]:
        """Do as `next`. Raises TypeError for anything but None: a generator that runs elsewhere takes no values."""
        if value is not None:
            raise TypeError(f"{self!r} runs in another process and takes no values; call an actor for that")
        return next(self)

    def throw(self, error: BaseException | type[BaseException]) -> NoReturn:
        """End the generator as `close` does and raise the error, as a generator that does not catch it."""
        self.close()
        raise error

    def close(self) -> None:
        """Cancel what the generator still had to make. What it has yielded can be read."""
        self.engine.cancel(self, False, False)

    async def asend(self, value: None) -> ObjectRef[T]:
        """Do as `send` in async code."""
        if value is not None:
            raise TypeError(f"{self!r} runs in another process and takes no values; call an actor for that")
        return await anext(self)

    async def athrow(self, error: BaseException | type[BaseException]) -> NoReturn:
        """Do as `throw` in async code."""
        self.throw(error)

    async def aclose(self) -> None:
        """Do as `close` in async code."""
        self.close()

    def next_ready(self) -> bool:
        """Tell whether the next reference (or the end) is there without waiting."""
        return self.engine.stream_ready(self)

    def is_finished(self) -> bool:
        """Tell whether every item has been read."""
        return self.engine.stream_finished(self)

    def completed(self) -> ObjectRef[None]:
        """Return a reference that is ready when the generator has ended, with its error if it raised."""
        return self.engine.stream_completed(self)

    def task_id(self) -> TaskID:
        """Return the generator's task."""
        return TaskID.told(self.task, job=bytes(self.engine.context().job_id))

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self.task.hex()})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "an ObjectRefGenerator belongs to the process that called the generator; pass its refs on"
        )


class DynamicObjectRefGenerator(Generic[T]):
    """What `get` returns for a task with `num_returns="dynamic"`: its references, all of them made already."""

    __slots__ = ("_refs",)

    def __init__(self, refs: list[ObjectRef[T]]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, index: int) -> ObjectRef[T]:
        return self._refs[index]
