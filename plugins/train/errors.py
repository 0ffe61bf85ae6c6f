"""What goes wrong while training. Each class says what the caller can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ShoalError

__all__ = [
    "ControllerError",
    "NCCLHangError",
    "PreemptionError",
    "PreemptionInfo",
    "SessionMisuseError",
    "TrainingFailedError",
    "TrainingHangError",
    "UnequalReportsError",
    "WorkerGroupError",
]


class TrainingFailedError(ShoalError, RuntimeError):
    """`fit()` ended without success, and `failure_config` allows no further try. The message tells the story."""


class ControllerError(TrainingFailedError):
    """What leads a run failed, not the training: workers could not be placed, or the storage is away for too long."""

    def __init__(self, controller_failure: Exception) -> None:
        super().__init__(controller_failure)
        self.controller_failure = controller_failure

    def __str__(self) -> str:
        return str(self.controller_failure)


class WorkerGroupError(TrainingFailedError):
    """Workers failed. `worker_failures` has the error of each rank that did."""

    def __init__(self, error_message: str, worker_failures: Mapping[int, Exception]) -> None:
        super().__init__(error_message, worker_failures)
        self.worker_failures: dict[int, Exception] = dict(worker_failures)

    def __str__(self) -> str:
        return str(self.args[0])


class TrainingHangError(WorkerGroupError):
    """Nothing was reported for `FailureConfig.hang_timeout_s`. The message has every rank's place in the code."""


NCCLHangError = TrainingHangError


class UnequalReportsError(WorkerGroupError):
    """The ranks did not call `report` equally often. Call it on every rank, as often on each."""


class PreemptionInfo:
    """Which nodes will go away, and when.

    Parameters: `deadline_ms` is Unix time in milliseconds, None if nobody said; `preempted_node_to_ranks` has the
    ranks on each such node.
    """

    def __init__(self, deadline_ms: int | None, preempted_node_to_ranks: Mapping[str, Sequence[int]]) -> None:
        self.deadline_ms = deadline_ms
        self.preempted_node_to_ranks: dict[str, list[int]] = {
            node: list(ranks) for node, ranks in preempted_node_to_ranks.items()
        }

    @property
    def preempted_node_ids(self) -> list[str]:
        """The nodes' identifiers, in order."""
        return sorted(self.preempted_node_to_ranks)

    @property
    def preempted_ranks(self) -> list[int]:
        """The ranks on these nodes, in order."""
        return sorted(rank for ranks in self.preempted_node_to_ranks.values() for rank in ranks)

    def __repr__(self) -> str:
        return f"PreemptionInfo({self.deadline_ms}, {self.preempted_node_to_ranks})"


class PreemptionError(TrainingFailedError):
    """Nodes were taken away more often than `FailureConfig.max_preemption_failures` allows."""

    def __init__(self, preemption_info: PreemptionInfo, drain_timed_out: bool = False) -> None:
        super().__init__(preemption_info, drain_timed_out)
        self.preemption_info = preemption_info
        self.drain_timed_out = drain_timed_out

    def __str__(self) -> str:
        nodes = ", ".join(self.preemption_info.preempted_node_ids)
        return f"nodes {nodes} with ranks {self.preemption_info.preempted_ranks} were taken away"


class SessionMisuseError(ShoalError, RuntimeError):
    """A function of a worker was called where there is none. Call it in the function that a trainer runs."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
