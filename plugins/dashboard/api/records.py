"""Lists of records that a page keeps up to date: a page that has a version is sent what has changed since."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from shoal.state.records import StateResource, resource_to_schema

if TYPE_CHECKING:
    from shoal.dashboard.context import SessionContext
    from shoal.state.schema import StateSchema

MOST_ROWS = 20_000  # of one list; the newest, where that can be told
_MOST_GONE = 5_000  # that are remembered: who was away for longer gets the whole list
_SPARE = 4.0  # a list that takes a second to make is made again after so many

RESOURCES: Mapping[str, StateResource] = {
    "actors": StateResource.ACTORS,
    "events": StateResource.CLUSTER_EVENTS,
    "groups": StateResource.PLACEMENT_GROUPS,
    "jobs": StateResource.JOBS,
    "nodes": StateResource.NODES,
    "objects": StateResource.OBJECTS,
    "tasks": StateResource.TASKS,
    "workers": StateResource.WORKERS,
}

_KEYS: Mapping[str, tuple[str, ...]] = {
    "actors": ("actor_id",),
    "events": ("time", "source_type", "message"),
    "groups": ("placement_group_id",),
    "jobs": ("job_id",),
    "nodes": ("node_id",),
    "objects": ("object_id", "pid", "reference_type"),
    "tasks": ("task_id", "attempt_number"),
    "workers": ("worker_id",),
}


class Book:
    """One list. Called with the context's lock held."""

    def __init__(self, name: str) -> None:
        self._name = name
        schema = resource_to_schema(RESOURCES[name])
        self.columns = [column for column in schema.list_columns(True) if column not in _UNKNOWN]
        self._keys = [self.columns.index(column) for column in _KEYS[name]]
        # Another process's versions mean nothing here, and a page may have lived through one.
        self._epoch = os.urandom(4).hex()
        self._version = 0
        self._rows: dict[str, tuple[list[Any], int]] = {}  # and the version it is of
        self._gone: dict[str, int] = {}
        self._oldest = 0  # version from which on all that went is known
        self._made = (-1, 0.0)  # of the model's version, and until when that will do
        self.total = 0

    def update(self, model_version: int, records: Callable[[], Any]) -> None:
        """Make the list anew, unless it is of this version, or was made so recently that it would cost too much."""
        now = time.monotonic()
        if self._made[0] == model_version or now < self._made[1]:
            return
        self._version += 1
        rows: dict[str, tuple[list[Any], int]] = {}
        total = 0
        every = iter(records())
        for record in islice(every, MOST_ROWS):
            row = self._row(record)
            key = "|".join(str(row[index]) for index in self._keys)
            before = self._rows.get(key)
            rows[key] = before if before is not None and before[0] == row else (row, self._version)
            total += 1
        self.total = total + sum(1 for _ in every)
        for key in self._rows.keys() - rows.keys():
            self._gone[key] = self._version
        for key in rows.keys() & self._gone.keys():
            del self._gone[key]
        while len(self._gone) > _MOST_GONE:
            self._oldest = max(self._oldest, self._gone.pop(next(iter(self._gone))))
        self._rows = rows
        took = time.monotonic() - now
        self._made = (model_version, now + took * _SPARE)

    def _row(self, record: StateSchema) -> list[Any]:
        return [getattr(record, column) for column in self.columns]

    def since(self, given: str) -> dict[str, Any]:
        """Return what has changed since a version that was given before; all for one that is not known."""
        epoch, _, number = given.partition(".")
        known = int(number) if epoch == self._epoch and number.isdecimal() else -1
        whole = known < self._oldest
        changed = [[key, row] for key, (row, version) in self._rows.items() if whole or version > known]
        return {
            "version": f"{self._epoch}.{self._version}",
            "whole": whole,
            "columns": self.columns,
            "rows": changed,
            "gone": [] if whole else [key for key, version in self._gone.items() if version > known],
            "total": self.total,
        }


class Books:
    """All lists of a session. From any thread."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._books: dict[str, Book] = {}

    def answer(self, name: str, since: str) -> dict[str, Any]:
        """Return a list, or what is new of it. Raises KeyError for one that there is not, GetTimeout, SystemFailure."""
        resource = RESOURCES[name]
        with self._context.lock:
            objects = name == "objects"
            self._context.refresh(objects=objects)
            model = self._context.model
            tables = model.tables()
            book = self._books.setdefault(name, Book(name))
            book.update(model.version, lambda: tables.records(resource) or ())
            answer = book.since(since)
            answer["missing"] = model.missing() if name in ("tasks", "objects") else ""
            return answer


# Columns that nothing fills.
_UNKNOWN = frozenset(
    {
        "debugger_port",
        "driver_agent_http_address",
        "events",
        "fallback_strategy",
        "is_debugger_paused",
        "label_selector",
        "language",
        "num_paused_threads",
        "num_restarts_due_to_lineage_reconstruction",
        "num_restarts_due_to_node_preemption",
        "profiling_data",
        "repr_name",
        "runtime_env_info",
        "serialized_runtime_env",
        "stats",
        "task_log_info",
        "topology_assignments",
        "topology_strategy",
    }
)
