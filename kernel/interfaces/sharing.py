"""Sharing: decides which of several jobs is served first. A pure policy: it sees values and returns a number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from shoal.spec.jobs import JobUse


class Sharing(ABC):
    """Ranks jobs that wait for the same resources. Called by one thread at a time, on every grant while jobs compete;
    never where there is one job. Does no I/O, reads no clock, remembers nothing.

    What must hold, so that nobody starves and nothing is taken to and fro: equal questions get equal answers; of two
    questions that differ in nothing but the use, the one with more of everything never gets a lower rank.
    """

    name: ClassVar[str]
    __slots__ = ()

    @abstractmethod
    def __init__(self) -> None:
        """Make one; there are no options."""

    @abstractmethod
    def rank(self, use: JobUse) -> tuple[float, ...]:
        """Return the job's place in the line: lower is served first, equal ones in the order they came.

        All ranks of one policy have the same length and are finite.
        """
