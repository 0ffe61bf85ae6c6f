"""The death certificate: what died, where, when, how, and what it said last."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable

import attrs


class Cause(str, enum.Enum):
    """Why something died. The value is what a person reads and what the wire carries."""

    EXITED = "exited by itself"
    SIGNALLED = "ended by a signal"
    OUT_OF_MEMORY = "ended by the memory monitor"
    PREEMPTED = "ended to make room for a job of higher priority"
    KILLED_BY_USER = "killed by the program"
    OUT_OF_SCOPE = "no handle was left"
    INTENDED_EXIT = "asked to exit"
    INIT_FAILED = "its constructor raised"
    NODE_DIED = "its node died"
    OWNER_DIED = "its owner died"
    ENVIRONMENT_FAILED = "its environment could not be made"
    UNSCHEDULABLE = "no node can run it"
    GROUP_REMOVED = "its placement group was removed"
    SESSION_ENDED = "the session ended"
    LOST = "it is not to be found"


def _texts(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(lines)


@attrs.frozen(kw_only=True)
class DeathCertificate:
    """One death, told as a frozen value that travels with the error.

    Example: `error.cause.signal` is 9 when a worker was ended by `kill -9`.
    """

    what: str = attrs.field()  # "worker", "actor", "node", "owner"
    identity: str = ""  # hexadecimal identifier
    name: str = ""  # class or function it was running
    node: str = ""  # hexadecimal node identifier
    process: int = 0  # process id, 0 if unknown
    when: float = 0.0  # seconds since the epoch
    cause: Cause = attrs.field(default=Cause.LOST, converter=Cause)
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""  # a sentence more: who killed it, who used the memory, what failed
    last_lines: tuple[str, ...] = attrs.field(default=(), converter=_texts)  # newest last
    attempts: int = 0  # how many times the work was started before it was given up

    def how(self) -> str:
        """Return one phrase: cause with exit code or signal."""
        if self.signal is not None:
            return f"{self.cause.value} (signal {self.signal}, {_signal_name(self.signal)})"
        if self.exit_code is not None:
            return f"{self.cause.value} (exit code {self.exit_code})"
        return self.cause.value

    def __str__(self) -> str:
        who = " ".join(part for part in (self.what, self.name, self.identity[:16]) if part)
        lines = [f"{who}: {self.how()}"]
        where = []
        if self.process:
            where.append(f"pid {self.process}")
        if self.node:
            where.append(f"node {self.node}")
        if self.when:
            moment = datetime.datetime.fromtimestamp(self.when).isoformat(sep=" ", timespec="seconds")
            where.append(moment)
        if where:
            lines.append("  where and when: " + ", ".join(where))
        if self.detail:
            lines.append("  why: " + self.detail)
        if self.attempts:
            lines.append(f"  attempts: {self.attempts}")
        if self.last_lines:
            lines.append("  last lines it logged:")
            lines.extend("    | " + line for line in self.last_lines)
        return "\n".join(lines)


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
