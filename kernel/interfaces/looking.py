"""Looking at sessions: what an engine of processes can tell of one, living or dead, its own or another's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    from shoal.config import Config


@attrs.frozen(kw_only=True)
class NodeSeen:
    """What one node tells: the end of its event log as bytes, and what is not in the log."""

    node: str  # identifier in hexadecimal, "" for one that did not answer
    log: Sequence[bytes] = ()  # segments, oldest first
    calls: Sequence[Mapping[str, Any]] = ()  # that are not over, see `unfinished calls` in docs/state.md
    workers: Sequence[Mapping[str, Any]] = ()
    files: Sequence[tuple[str, int]] = ()  # log files: name and bytes
    silent: int = 0  # processes that did not answer in time
    # Instead of `log`, for a `Watch`: each segment that there is, with where what is new of it begins
    parts: Sequence[tuple[str, int, bytes]] = ()


@attrs.frozen(kw_only=True)
class SessionSeen:
    """What can be told of a session. Of a dead one there is only what its folder has."""

    session: str  # its name
    folder: str  # on this machine
    is_live: bool
    nodes: Sequence[NodeSeen]
    # Of a living one what the head knows, in the form of the requests `nodes`, `jobs`, `actors`, `groups`, `reports`
    known: Mapping[str, Sequence[Any]] = attrs.field(factory=dict)
    objects: Sequence[Mapping[str, Any]] = ()  # reports of nodes about objects, if they were asked for
    silent: int = 0  # nodes that did not answer in time


@attrs.frozen
class LogPart:
    """A part of a log file: where it begins in the file, its bytes, and how long the file is now."""

    start: int
    data: bytes
    size: int


@runtime_checkable
class SupportsLooking(Protocol):
    """An engine whose sessions can be looked at. From any thread."""

    @abstractmethod
    def look(self, objects: bool, timeout: float) -> SessionSeen:
        """Return what the session of this engine tells, with `objects` also of objects.

        Raises GetTimeout if the node's daemon does not answer within `timeout` seconds.
        """

    @abstractmethod
    def read_log(self, node: str, name: str, start: int, size: int, timeout: float) -> LogPart:
        """Return at most `size` bytes of a log file from `start` on; a negative `start` counts from the file's end.

        `node` is the identifier of a living node in hexadecimal, `name` one of `NodeSeen.files`. An engine may return
        less than is asked for. Raises FileNotFoundError if there is no such file or node, GetTimeout.
        """

    @classmethod
    @abstractmethod
    def look_at(cls, where: str | None, config: Config, objects: bool, timeout: float) -> SessionSeen:
        """Return what another session tells, without being a part of it.

        `where` is the folder of a session or node, living or dead, the end of its name, the process of its driver, or
        a cluster's HOST:PORT; None is the only one that lives on this machine. Raises ConfigError, listing what is
        there, if that is none or several.
        """


class Watch(ABC):
    """A session that is looked at again and again: each look brings what is new of the event logs only.

    For one thread at a time.
    """

    session: str  # its name
    folder: str
    is_live: bool

    @abstractmethod
    def look(self, objects: bool, timeout: float) -> SessionSeen:
        """Return what the session tells, its nodes with `parts` in the place of `log`.

        Raises GetTimeout, and SystemFailure when the session has ended.
        """

    @abstractmethod
    def errand(self, node: str, what: str, facts: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """Have something looked up on a node (hexadecimal; "" for this one), and return the answer. From any thread.

        `what` is "log" (facts: name, lines, search), "stack" (worker), "flame" (worker, seconds) or "memory" (worker,
        seconds); a worker is named by its identifier in hexadecimal or its process, or is "daemon".
        Raises ConfigError for what cannot be done there, saying what to do, LookupError for what is not there,
        GetTimeout.
        """

    @abstractmethod
    def dashboard(self) -> str:
        """Return the address of the session's dashboard; its head opens the port if need be. Raises ConfigError."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect. A second close does nothing."""


@runtime_checkable
class SupportsWatching(Protocol):
    """An engine whose sessions can be watched from outside."""

    @classmethod
    @abstractmethod
    def watch_at(cls, where: str | None, config: Config) -> Watch:
        """Connect to a session, or open the folder of a dead one; `where` is that of `SupportsLooking.look_at`."""
