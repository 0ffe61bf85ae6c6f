"""The engine of this process.

One per process, not a context variable: threads that user code starts must find the session too, and context
variables do not reach them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.interfaces.engine import Engine
    from shoal.interfaces.following import Follower


class CurrentEngine:
    """Holds the engine that the public API talks to. A worker process sets it before it runs user code.

    `follower` is who stands between the API and the engine when calls are followed to where they run; None: nobody.
    """

    __slots__ = ("engine", "follower")

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.follower: Follower | None = None


current: CurrentEngine = CurrentEngine()
