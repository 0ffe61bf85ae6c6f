"""What a job is to those who divide a cluster: its place in the line, its part, and its bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from shoal.spec.resources import ResourceSet


@attrs.frozen(kw_only=True)
class JobSpec:
    """One program that uses a cluster, as its driver has described it. Equal by value; travels with its demands.

    Example: `JobSpec(job_id=b"\\0\\0\\0\\1", priority=1, quota={"CPU": 20_000})` is for at most two CPUs.
    """

    job_id: bytes
    name: str = ""  # for people; empty: the identifier stands for it
    priority: int = 0  # higher goes first, strictly
    share: float = 1.0  # weight among jobs of one priority
    quota: Mapping[str, int] = attrs.field(
        factory=dict, hash=False
    )  # units; what is not named is not bounded
    preemptible: bool = True  # its retriable tasks may be ended for a job of higher priority

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.name or self.job_id.hex()

    def quota_text(self) -> str:
        """Return the quota for people, zeros included."""
        amounts = [
            ResourceSet({name: units}) if units else f"{{{name}: 0}}" for name, units in self.quota.items()
        ]
        return "{" + ", ".join(str(one)[1:-1] for one in amounts) + "}"

    def at_quota(self) -> str:
        """Return the reason of a demand that the quota holds up."""
        return f"job {self.shown} is at its quota of {self.quota_text()}"

    def refusal(self, resources: ResourceSet) -> str:
        """Return why the quota can never allow `resources`, "" if it can."""
        beyond = [name for name, most in self.quota.items() if resources.units.get(name, 0) > most]
        if not beyond:
            return ""
        return (
            f"it needs {resources!r}, and the quota of job {self.shown} is {self.quota_text()}: it could never run. "
            "Ask for less, or give the job a larger job_quota"
        )

    def to_wire(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**attrs.asdict(self), "quota": dict(self.quota)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> JobSpec:
        """Return it as `to_wire` has written it."""
        return cls(**wire)


@attrs.frozen(kw_only=True)
class JobUse:
    """What a job has at one moment, for whoever ranks jobs. `number` grows with the order in which jobs came."""

    spec: JobSpec
    used: Mapping[str, int]
    total: Mapping[str, int]  # of the cluster
    number: int = 0

    @property
    def dominant_share(self) -> float:
        """The largest part of any resource of the cluster that it has: 0.0 nothing, 1.0 all of one."""
        most = 0.0
        for name, units in self.used.items():
            total = self.total.get(name, 0)
            if total and units > most * total:
                most = units / total
        return most
