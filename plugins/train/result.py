"""What a run has come to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs

from shoal.train.checkpoint import Checkpoint
from shoal.train.storage import Storage, locate

if TYPE_CHECKING:
    import pandas

STATE = "run.json"
METRICS = "metrics.json"


@attrs.define(eq=False)
class Result:
    """What a run has come to.

    `metrics` are the last that rank 0 reported, `checkpoint` is the newest, `best_checkpoints` those that were kept
    with their metrics, `path` the run's folder, `error` what ended it (None: it went well), `metrics_dataframe` every
    report, `return_value` what rank 0's function returned.
    """

    metrics: dict[str, Any] | None
    checkpoint: Checkpoint | None
    error: Exception | None
    path: str = ""
    metrics_dataframe: pandas.DataFrame | None = None
    best_checkpoints: list[tuple[Checkpoint, dict[str, Any]]] = attrs.field(factory=list)
    _storage_filesystem: Any = None
    return_value: Any = None

    @property
    def filesystem(self) -> Any:
        """The pyarrow filesystem in which `path` is."""
        return self._storage_filesystem

    @property
    def config(self) -> dict[str, Any] | None:
        """The metrics' key "config", if the training function reported one."""
        return (self.metrics or {}).get("config")

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """Return the kept checkpoint with the highest ("max") or lowest ("min") metric; None if none has it.

        Raises ValueError for another mode.
        """
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', not {mode!r}")
        having = [
            (said[metric], index) for index, (_, said) in enumerate(self.best_checkpoints) if metric in said
        ]
        if not having:
            return None
        return self.best_checkpoints[(max if mode == "max" else min)(having)[1]][0]

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """Return what a run in that folder has come to. Raises FileNotFoundError if none was there.

        Example: `Result.from_path("s3://bucket/runs/digits")`
        """
        filesystem, inside = locate(os.fspath(path), storage_filesystem)
        storage = Storage(filesystem, inside, patience=30.0)
        state = storage.read_json(STATE)
        if not isinstance(state, dict):
            raise FileNotFoundError(f"there was no run in {path}: it has no file {STATE}")
        rows = storage.read_json(METRICS) or []
        kept = [
            (Checkpoint(each["path"] or storage.at(each["name"]), filesystem), dict(each["metrics"]))
            for each in state["checkpoints"]
        ]
        error = RuntimeError(state["error"]) if state.get("error") else None
        return cls(
            metrics=rows[-1] if rows else None,
            checkpoint=kept[-1][0] if kept else None,
            error=error,
            path=inside,
            metrics_dataframe=frame_of(rows),
            best_checkpoints=kept,
            storage_filesystem=filesystem,
        )


def frame_of(rows: list[dict[str, Any]]) -> Any:
    """Return reports as a pandas frame, None without any or without pandas."""
    if not rows:
        return None
    try:
        import pandas
    except ImportError:
        return None
    return pandas.DataFrame(rows)
