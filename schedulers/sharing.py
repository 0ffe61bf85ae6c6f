"""The policies that rank jobs: fair shares within a priority, or whoever came first."""

from __future__ import annotations

from typing import ClassVar

from shoal.interfaces.sharing import Sharing
from shoal.spec.jobs import JobUse


class FairSharing(Sharing):
    """Higher priority first; within a priority weighted dominant-resource fairness.

    A job's dominant share is the largest part that it has of any resource; the job whose dominant share is lowest for
    its weight is next (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011).
    """

    name: ClassVar[str] = "fair"
    __slots__ = ()

    def __init__(self) -> None:
        pass

    def rank(self, use: JobUse) -> tuple[float, ...]:
        return (-use.spec.priority, use.dominant_share / use.spec.share)


class ArrivalSharing(Sharing):
    """Higher priority first; within a priority the job that came first has all that it can use."""

    name: ClassVar[str] = "arrival"
    __slots__ = ()

    def __init__(self) -> None:
        pass

    def rank(self, use: JobUse) -> tuple[float, ...]:
        return (-use.spec.priority, use.number)
