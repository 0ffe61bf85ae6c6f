"""The client of the state API: lists, single records and summaries, with filters."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from shoal.errors import ConfigError, GetTimeout, describe
from shoal.interfaces.current import current
from shoal.interfaces.looking import SupportsLooking
from shoal.looking import Losses, look
from shoal.state.failures import ServerUnavailable, StateApiError
from shoal.state.records import StateResource, StateSchema, SummaryResource, resource_to_schema
from shoal.state.requests import (
    MOST,
    ActorSummaries,
    Filter,
    GetApiOptions,
    ListApiOptions,
    ObjectSummaries,
    StateSummary,
    SummaryApiOptions,
    TaskSummaries,
)
from shoal.state.sources import all_records, engine_of_session
from shoal.state.tables import Tables

_log = logging.getLogger("shoal")

_IDENTIFIERS = {
    StateResource.ACTORS: "actor_id",
    StateResource.JOBS: "job_id",
    StateResource.NODES: "node_id",
    StateResource.OBJECTS: "object_id",
    StateResource.PLACEMENT_GROUPS: "placement_group_id",
    StateResource.TASKS: "task_id",
    StateResource.WORKERS: "worker_id",
}
_FROM_CALLS = frozenset({StateResource.TASKS, StateResource.OBJECTS})
_SEVERAL = frozenset({StateResource.OBJECTS})  # one identifier, a record of each process that knows it


class StateApiClient:
    """Looks at a session, living or dead. What is missing from the last answer is in `losses`.

    `address` is None for the session of this process, "auto" for that or else the only one that lives on this machine,
    or what `shoal.looking.look` takes: a folder, the end of a session's name, a cluster's HOST:PORT. Who may read the
    session's folder may look; there is no server to log in to.
    Raises ServerUnavailable if there is no session, StateApiError for cookies and headers.

    Example: `StateApiClient("/tmp/shoal-0/session_2026-01-31_12-00-00_4711_0a1b").list(StateResource.TASKS)`
    """

    def __init__(
        self,
        address: str | None = None,
        cookies: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        engine = current.engine
        has_own = engine is not None and not engine.closed
        if address is None or (address == "auto" and has_own):
            engine = engine_of_session()
            here = engine.context().address
            address = None
        else:
            here = address
            if has_own and engine is not None and address == engine.context().address:
                address = None
        if cookies or headers:
            raise StateApiError(
                "the state comes from this session itself, so cookies and headers have no place to go"
            )
        self._where = None if address == "auto" else address
        self._is_own: bool = address is None
        self._address = here
        self.losses = Losses()

    def get_address(self) -> str:
        """Return the address of the session."""
        return self._address

    def get_version(self) -> str:
        """Return the version of Shoal."""
        import shoal

        return shoal.__version__

    def get(
        self,
        resource: StateResource,
        id: str,  # noqa: A002
        options: GetApiOptions | None = None,
        _explain: bool = False,
    ) -> Any:
        """Return the record with that identifier, None if there is none; a list of them for objects."""
        column = _IDENTIFIERS.get(StateResource(resource))
        if column is None:
            raise StateApiError(f"{StateResource(resource).value} have no identifiers to ask for: list them")
        timeout = 30.0 if options is None else options.timeout
        found = [one for one in self._records(StateResource(resource), timeout) if one[column] == id]
        if resource in _SEVERAL:
            return found
        return found[0] if found else None

    def list(
        self,
        resource: StateResource,
        options: ListApiOptions | None = None,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> list[Any]:
        """Return records, those that all filters let through; columns of detail are None unless they are asked for.

        Raises StateApiError if there are more than `limit` and `raise_on_missing_output` is true, and ValueError for
        filters that cannot be applied.
        """
        asked = options if options is not None else ListApiOptions()
        resource = StateResource(resource)
        schema = resource_to_schema(resource)
        if type(asked.limit) is not int or not 1 <= asked.limit <= MOST:
            raise ValueError(f"limit must be a whole number from 1 to {MOST}, not {describe(asked.limit)}")
        filters = [_check(one, schema) for one in asked.filters or ()]
        matching = (
            one
            for one in self._records(resource, asked.timeout)
            if all(_lets_through(one, wanted) for wanted in filters)
        )
        found = list(islice(matching, asked.limit + 1))
        if len(found) > asked.limit:
            if raise_on_missing_output:
                raise StateApiError(
                    f"there are more than limit={asked.limit} {resource.value}; raise the limit, filter, or pass "
                    "raise_on_missing_output=False"
                )
            found.pop()
        if not asked.detail:
            basic = schema.base_columns()
            hidden = {name: None for name in schema.columns() if name not in basic}
            found = [attrs.evolve(one, **hidden) for one in found]
        return found

    def summary(
        self,
        resource: SummaryResource,
        *,
        options: SummaryApiOptions | None = None,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> dict[str, Any]:
        """Return a summary as plain data: {"cluster": {...}}."""
        asked = options if options is not None else SummaryApiOptions()
        resource = SummaryResource(resource)
        kind = StateResource(resource.value)
        filters = [_check(one, resource_to_schema(kind)) for one in asked.filters or ()]
        # Not through `list`: a summary counts all that there is.
        rows = [
            one.asdict()
            for one in self._records(kind, asked.timeout)
            if all(_lets_through(one, wanted) for wanted in filters)
        ]
        made: Any
        if resource is SummaryResource.ACTORS:
            made = ActorSummaries.to_summary(actors=rows)
        elif resource is SummaryResource.OBJECTS:
            made = ObjectSummaries.to_summary(objects=rows)
        elif asked.summary_by == "lineage":
            actors = [one.asdict() for one in self._records(StateResource.ACTORS, asked.timeout)]
            made = TaskSummaries.to_summary_by_lineage(tasks=rows, actors=actors)
        else:
            made = TaskSummaries.to_summary_by_func_name(tasks=rows)
        return dict(attrs.asdict(StateSummary({"cluster": attrs.asdict(made)}))["node_id_to_summary"])

    def _records(self, resource: StateResource, timeout: float) -> Iterator[StateSchema]:
        is_seen = isinstance(current.engine, SupportsLooking)
        if self._is_own and not is_seen:
            return all_records(resource)
        try:
            seen = look(self._where, objects=resource is StateResource.OBJECTS, timeout=timeout)
        except (ConfigError, GetTimeout) as error:
            raise ServerUnavailable(str(error)) from error
        tables = Tables(seen)
        found = tables.records(resource)
        if found is None and not self._is_own:
            raise StateApiError(f"a list of {resource.value} is known inside of the session only")
        if found is None:
            return all_records(resource)
        self.losses = tables.losses
        if self.losses.matters(resource in _FROM_CALLS):
            _log.warning("the list of %s is not whole: %s", resource.value, self.losses.as_text())
        return found


def _check(wanted: Sequence[Any], schema: type[StateSchema]) -> Filter:
    if isinstance(wanted, str) or len(wanted) != 3:
        raise ValueError(f'a filter is ("column", "=" or "!=", value), not {describe(wanted)}')
    column, predicate, value = wanted
    if column not in schema.filterable_columns():
        columns = ", ".join(sorted(schema.filterable_columns()))
        raise ValueError(f"{column!r} cannot be filtered by; these can: {columns}")
    if predicate not in ("=", "!="):
        raise ValueError(f"a filter compares with '=' or '!=', not {describe(predicate)}")
    return column, predicate, value


def _lets_through(record: StateSchema, wanted: Filter) -> bool:
    column, predicate, value = wanted
    # Filters come from command lines too, where all is text.
    same = str(record[column]).lower() == str(value).lower()
    return same is (predicate == "=")
