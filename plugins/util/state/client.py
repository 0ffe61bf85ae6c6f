"""The client of the state API: lists, single records and summaries, with filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from shoal.errors import describe
from shoal.util.state.failures import StateApiError
from shoal.util.state.records import StateResource, StateSchema, SummaryResource, resource_to_schema
from shoal.util.state.requests import (
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
from shoal.util.state.sources import all_records, engine_of_session

_IDENTIFIERS = {
    StateResource.ACTORS: "actor_id",
    StateResource.JOBS: "job_id",
    StateResource.NODES: "node_id",
    StateResource.OBJECTS: "object_id",
    StateResource.PLACEMENT_GROUPS: "placement_group_id",
    StateResource.TASKS: "task_id",
    StateResource.WORKERS: "worker_id",
}
_SEVERAL = frozenset({StateResource.OBJECTS})  # one identifier, a record of each process that knows it


class StateApiClient:
    """Looks at the session of this process. `address` must be its own, or None; there is no server to log in to."""

    def __init__(
        self,
        address: str | None = None,
        cookies: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        here = engine_of_session().context().address
        if address not in (None, "auto", here):
            raise StateApiError(f"this process is in the session at {here or 'no address'}, not at {address}")
        if cookies or headers:
            raise StateApiError(
                "the state comes from this session itself, so cookies and headers have no place to go"
            )
        self._address = here

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
        found = [one for one in all_records(StateResource(resource)) if one[column] == id]
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
            one for one in all_records(resource) if all(_lets_through(one, wanted) for wanted in filters)
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
        listed = self.list(
            StateResource(resource.value),
            ListApiOptions(limit=MOST, detail=True, filters=asked.filters),
            raise_on_missing_output,
        )
        rows = [one.asdict() for one in listed]
        made: Any
        if resource is SummaryResource.ACTORS:
            made = ActorSummaries.to_summary(actors=rows)
        elif resource is SummaryResource.OBJECTS:
            made = ObjectSummaries.to_summary(objects=rows)
        elif asked.summary_by == "lineage":
            actors = [one.asdict() for one in all_records(StateResource.ACTORS)]
            made = TaskSummaries.to_summary_by_lineage(tasks=rows, actors=actors)
        else:
            made = TaskSummaries.to_summary_by_func_name(tasks=rows)
        return dict(attrs.asdict(StateSummary({"cluster": attrs.asdict(made)}))["node_id_to_summary"])


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
