"""Debugger: lets a person look into a call that stands still, at a breakpoint or after it has raised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, ClassVar

import attrs


@attrs.frozen(kw_only=True)
class Stopped:
    """A call that stands still. Identifiers are hexadecimal, "" where there is none.

    `traceback` is that of the error it has raised, None at a breakpoint, where `frame` is the one to stop in.
    """

    name: str
    function: str
    file: str
    line: int
    task: str = ""
    actor: str = ""
    worker: str = ""
    node: str = ""
    pid: int = 0
    error: str = ""
    frame: FrameType | None = attrs.field(default=None, repr=False)
    traceback: TracebackType | None = attrs.field(default=None, repr=False)


# Tells whoever looks (`shoal debug`, the program's output) how to come, for as long as the context lasts.
Announce = Callable[[Mapping[str, Any], str], AbstractContextManager[None]]


class Debugger(ABC):
    """Waits for a person. Made anew for each stop, in the process that stands still."""

    name: ClassVar[str]

    @abstractmethod
    def wait(self, stopped: Stopped, announce: Announce, seconds: float) -> bool:
        """Wait at most so long for a person; return whether one came.

        `announce(facts, text)` tells them how: `facts` are plain data for `shoal debug`, which knows the keys `port`
        (on loopback) and `secret` (the first line to send), `text` is a line for people. At a breakpoint this may
        return before the person is done: Python's tracing stops the frame where it goes on.
        """
