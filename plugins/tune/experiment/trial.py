"""One trial: a configuration, and what came of it so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from shoal.train.controller.kept import Kept, KeptCheckpoints

__all__ = ["FINISHED", "Trial"]

FINISHED = ("TERMINATED", "ERROR")


@attrs.define(eq=False)
class Trial:
    """One trial: a configuration, and what came of it so far. Compared by identity.

    `status` is PENDING, RUNNING, PAUSED, TERMINATED or ERROR; `last_result` its last report; `kept` its checkpoints;
    `restore_path` the checkpoint of another trial that it begins from (population based training).
    """

    trial_id: str
    number: int
    config: dict[str, Any]
    evaluated_params: Mapping[str, Any] = attrs.field(factory=dict)
    experiment_tag: str = ""
    dirname: str = ""
    resources: Any = None  # None: the trainable's
    kept: KeptCheckpoints = attrs.field(factory=lambda: KeptCheckpoints(None, None, "max"))
    status: str = "PENDING"
    last_result: dict[str, Any] = attrs.field(factory=dict)
    num_failures: int = 0
    error: str = ""
    exception: BaseException | None = None
    restore_path: str | None = None
    restore_iteration: int = 0
    best: dict[str, tuple[float, float, float, int]] = attrs.field(factory=dict)  # min, max, sum, number
    next_index: int = 0  # of a checkpoint
    node_ip: str = ""
    told: bool = False  # the scheduler knows it
    stop_asked: bool = False

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"

    def is_finished(self) -> bool:
        """Return whether it has ended, well or not."""
        return self.status in FINISHED

    @property
    def checkpoint(self) -> Kept | None:
        """Its newest checkpoint."""
        return self.kept.newest

    def has_checkpoint(self) -> bool:
        """Return whether it has a checkpoint."""
        return self.kept.newest is not None

    @property
    def iteration(self) -> int:
        """The number of its last report."""
        return int(self.last_result.get("training_iteration", 0))

    def update_last_result(self, result: dict[str, Any]) -> None:
        """Note a report."""
        self.last_result = result
        for name, value in result.items():
            if type(value) is float or (type(value) is int):
                if not math.isfinite(value):
                    continue
                low, high, total, number = self.best.get(name, (value, value, 0.0, 0))
                self.best[name] = (min(low, value), max(high, value), total + value, number + 1)

    @property
    def metric_analysis(self) -> dict[str, dict[str, Any]]:
        """The least, the most, the mean and the last value of each metric."""
        return {
            name: {
                "min": low,
                "max": high,
                "avg": total / number,
                "last": self.last_result.get(name, math.nan),
            }
            for name, (low, high, total, number) in self.best.items()
        }

    def set_config(self, config: dict[str, Any]) -> None:
        """Take another configuration, from the next start on."""
        self.config = config

    def set_experiment_tag(self, experiment_tag: str) -> None:
        """Take another tag."""
        self.experiment_tag = experiment_tag

    def set_status(self, status: str) -> None:
        """Be in another state."""
        self.status = status

    @property
    def path(self) -> str:
        """Its folder's name in the experiment's."""
        return self.dirname

    def __str__(self) -> str:
        return self.trial_id

    def __repr__(self) -> str:
        return f"<Trial {self.trial_id} {self.status}>"
