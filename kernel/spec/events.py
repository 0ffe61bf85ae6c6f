"""Facts that an engine tells its observers. Frozen, with identifiers in hexadecimal and times in seconds."""

from __future__ import annotations

import attrs

from shoal.death import DeathCertificate


@attrs.frozen(kw_only=True)
class SessionStarted:
    """A session is ready for work."""

    session: str
    engine: str
    node: str = ""


@attrs.frozen(kw_only=True)
class SessionEnded:
    """A session has ended; nothing of it is left."""

    session: str


@attrs.frozen(kw_only=True)
class TaskFinished:
    """One attempt of one task or actor call is over. `error` names the exception class, if any."""

    task: str
    name: str
    worker: str
    started: float
    duration: float  # seconds
    attempt: int = 0
    error: str = ""
    actor: str = ""


@attrs.frozen(kw_only=True)
class WorkerDied:
    """A worker process is gone, whether meant or not."""

    worker: str
    certificate: DeathCertificate


@attrs.frozen(kw_only=True)
class ActorDied:
    """An actor is gone for good, or restarts when `restarting`."""

    actor: str
    name: str
    restarting: bool
    certificate: DeathCertificate


@attrs.frozen(kw_only=True)
class ObjectSpilled:
    """An object was moved to disk."""

    object: str
    size: int  # bytes


@attrs.frozen(kw_only=True)
class LogLines:
    """Lines that a worker printed, as they come to the driver."""

    worker: str
    process: int
    name: str
    stream: str  # "stdout" or "stderr"
    lines: tuple[str, ...]
