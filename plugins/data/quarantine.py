"""Rows for which a program's function raised: left out, or put aside in files with the error and their source."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block, rows_of
from shoal.data.sources.paths import to_filesystem
from shoal.data.tasks import SOURCE, TASK
from shoal.errors import describe

_ROWS_IN_A_FILE = 1000


@attrs.frozen
class Quarantine:
    """A folder for bad rows, as Parquet files: `error`, `function`, `source` (a file that was read) and `row` as JSON.

    A task that is tried again replaces what it put aside. `source` is null where the reader is not in the same task as
    the function, as behind a shuffle or before a pool of actors; `include_paths=True` of the reader tells it then.

    Parameters: `path` is the folder, `filesystem` one of pyarrow.fs or fsspec, `max_rows` how many rows one task may
    put aside before the error is raised after all (None: any number).

    Example: `ds.map(parse, on_bad_rows=Quarantine("bad"))`
    """

    path: str = attrs.field(converter=os.fspath)
    filesystem: Any = None
    max_rows: int | None = None
    write_id: str = attrs.field(factory=lambda: uuid.uuid4().hex[:12], kw_only=True)


def check_policy(on_bad_rows: Any) -> Quarantine | str:
    """Return what to do with bad rows: "error", "skip", or a Quarantine (also made of a path). Raises ValueError.

    Example: `check_policy("skip")`
    """
    if isinstance(on_bad_rows, Quarantine):  # an id of each verb's own: one folder may serve several
        return attrs.evolve(on_bad_rows, write_id=uuid.uuid4().hex[:12])
    if on_bad_rows in ("error", "skip"):
        return str(on_bad_rows)
    if isinstance(on_bad_rows, os.PathLike):
        return Quarantine(os.fspath(on_bad_rows))
    raise ValueError(
        f'on_bad_rows must be "error", "skip" or a Quarantine("folder"), not {describe(on_bad_rows)}'
    )


class BadRows:
    """Does in one task what a policy says of bad rows. Call `close` when the task's rows are through."""

    def __init__(self, policy: Quarantine | str, function: str) -> None:
        self._policy = policy
        self._function = function
        self._waiting: list[dict[str, Any]] = []
        self._files = 0
        self._rows = 0

    def put(self, table: Block, error: Exception) -> None:
        """Put the rows of a table aside for an error; raises it where the policy says so."""
        if self._policy == "error":
            raise error
        if not isinstance(self._policy, Quarantine):
            return
        self._rows += table.num_rows
        if self._policy.max_rows is not None and self._rows > self._policy.max_rows:
            if hasattr(error, "add_note"):
                error.add_note(
                    f"this task had put {self._rows} rows aside; max_rows is {self._policy.max_rows}"
                )
            raise error
        told = {
            "error": f"{type(error).__name__}: {error}",
            "function": self._function,
            "source": SOURCE.get(),
        }
        self._waiting += [{**told, "row": _as_json(row)} for row in rows_of(table)]
        if len(self._waiting) >= _ROWS_IN_A_FILE:
            self._write()

    def close(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._write()

    def _write(self) -> None:
        import pyarrow.parquet as pq

        policy = self._policy
        assert isinstance(policy, Quarantine)
        system, folder = to_filesystem(policy.path, policy.filesystem)
        system.create_dir(folder, recursive=True)
        name = f"{policy.write_id}_{TASK.get():06}_{self._files:06}.parquet"
        columns = {
            key: pa.array([row[key] for row in self._waiting], pa.string()) for key in self._waiting[0]
        }
        unfinished = f"{folder}/.{uuid.uuid4().hex[:8]}_{name}"
        with system.open_output_stream(unfinished, compression=None) as stream:
            pq.write_table(pa.table(columns), stream)
        system.move(unfinished, f"{folder}/{name}")
        self._files += 1
        self._waiting = []


def _as_json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
