"""What a process knows of one object, and of one call that it made."""

from __future__ import annotations

from collections.abc import Callable
from time import time as _now
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.interfaces.refs import ObjectRef
    from shoal.native.client.peers import Peer
    from shoal.native.client.streams import Stream


class Record:
    """One object as this process knows it. `status` is None until there is a value; see wire/kinds.py.

    `local` counts the Python references of this process, those that hold arguments of unfinished calls and the insides
    of other objects among them. An owner also counts what it gave away in `borrowers`; a borrower counts in `credits`
    how often the owner was told of it, and gives exactly that many back.
    """

    __slots__ = (
        "borrowers",
        "contained",
        "credits",
        "fetching",
        "local",
        "object_id",
        "owned",
        "payload",
        "put",
        "status",
        "task",
        "watchers",
    )

    def __init__(self, object_id: bytes, owned: bool, task: Task | None) -> None:
        self.object_id = object_id
        self.owned = owned
        self.put = False  # made by put(): no task makes it
        self.task = task  # the call that makes it, while it is unfinished or may have to run again
        self.status: int | None = None
        self.payload: Any = None
        self.contained: list[ObjectRef[Any]] | None = None
        self.local = 0
        self.borrowers: dict[bytes, int] | None = None
        self.credits = 0
        self.fetching = False
        self.watchers: list[Callable[[], None]] | None = None

    def watch(self, callback: Callable[[], None]) -> None:
        """Call back once, under the lock, when there is a value. Only while there is none."""
        if self.watchers is None:
            self.watchers = [callback]
        else:
            self.watchers.append(callback)


class Task:
    """One call: a task's or an actor's. Kept while it is unfinished, and while a result may have to be made again."""

    __slots__ = (
        "actor",
        "attempt",
        "caller",
        "cancelled",
        "counter",
        "created",
        "depth",
        "extra",
        "function",
        "held",
        "large",
        "parent",
        "payload",
        "peer",
        "retries",
        "returns",
        "sequence",
        "slots",
        "stream",
        "waiting",
    )

    def __init__(self, counter: int, function: Any, payload: bytes) -> None:
        self.counter = counter
        self.created = _now()
        self.function = function  # PreparedFunction or PreparedMethod
        self.payload = payload
        self.extra: dict[str, Any] | None = None  # goes with the message
        self.slots: list[tuple[int | str, ObjectRef[Any]]] | None = None  # arguments that are references
        self.held: list[ObjectRef[Any]] | None = None  # references inside the arguments
        self.large: Record | None = None  # the arguments themselves, if they went into the store
        self.returns: list[Record] = []
        self.retries = 0
        self.attempt = 0
        self.waiting = 0  # arguments that have no value yet
        self.peer: Peer | None = None  # where it was sent
        self.actor: Any = None  # ActorClient for an actor's call
        self.stream: Stream | None = None
        self.cancelled = False
        self.sequence = (
            0  # its number among this process's calls to an actor that applies each once; 0: others
        )
        self.depth = 0
        self.parent: int | None = None  # counter of the call that made this one
        self.caller = b""  # the identifier of that call
