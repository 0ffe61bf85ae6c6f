"""What the state API is asked with, and the summaries that it answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

Filter = tuple[str, str, Any]  # column, "=" or "!=", value

MOST = 10_000  # records in one answer


@attrs.define
class ListApiOptions:
    """How to list: at most `limit` records (of 10,000), those that all `filters` let through."""

    limit: int = 100
    timeout: float = 30
    detail: bool = False
    filters: Sequence[Filter] | None = attrs.field(factory=list)
    exclude_driver: bool = True
    server_timeout_multiplier: float = 0.8

    def has_conflicting_filters(self) -> bool:
        """Tell whether two filters want different values of one column, so that nothing can match."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for column, predicate, value in self.filters or ():
            if predicate == "=":
                wanted[column].add(str(value).lower())
        return any(len(values) > 1 for values in wanted.values())


@attrs.define
class GetApiOptions:
    """How to ask for one record."""

    timeout: float = 30
    server_timeout_multiplier: float = 0.8


@attrs.define
class SummaryApiOptions:
    """How to summarize."""

    timeout: float = 30
    filters: Sequence[Filter] | None = attrs.field(factory=list)
    summary_by: str | None = None


@attrs.define
class GetLogOptions:
    """Which log file, and how much of it."""

    timeout: float
    node_id: str | None = None
    node_ip: str | None = None
    media_type: str = "file"
    filename: str | None = None
    download_filename: str = "file.txt"
    actor_id: str | None = None
    task_id: str | None = None
    attempt_number: int = 0
    pid: int | None = None
    lines: int = 1000
    interval: float | None = None
    suffix: str = "out"
    submission_id: str | None = None


@attrs.define
class ListApiResponse:
    """A list as it travels: how many there are, were looked at and matched."""

    total: int
    num_after_truncation: int
    num_filtered: int
    result: list[dict[str, Any]]
    partial_failure_warning: str | None = ""
    warnings: list[str] | None = None


@attrs.define
class SummaryApiResponse:
    """A summary as it travels."""

    total: int
    num_after_truncation: int
    num_filtered: int
    result: StateSummary
    partial_failure_warning: str | None = ""
    warnings: list[str] | None = None


@attrs.define
class Link:
    """What a line of a summary leads to."""

    type: str
    id: str


@attrs.define
class NestedTaskSummary:
    """Tasks that one task started, by the function."""

    name: str
    key: str
    type: str
    timestamp: int | None = None
    state_counts: dict[str, int] = attrs.field(factory=dict)
    children: list[NestedTaskSummary] = attrs.field(factory=list)
    link: Link | None = None


@attrs.define
class TaskSummaryPerFuncOrClassName:
    """Calls of one function, by their state."""

    func_or_class_name: str
    type: str
    state_counts: dict[str, int] = attrs.field(factory=dict)


@attrs.define
class TaskSummaries:
    """Calls by function."""

    summary: Any
    total_tasks: int
    total_actor_tasks: int
    total_actor_scheduled: int
    summary_by: str = "func_name"

    @classmethod
    def to_summary_by_func_name(cls, *, tasks: Iterable[Mapping[str, Any]]) -> TaskSummaries:
        """Count calls by function and state."""
        found: dict[str, TaskSummaryPerFuncOrClassName] = {}
        kinds: Counter[str] = Counter()
        for task in tasks:
            name = task["func_or_class_name"]
            entry = found.setdefault(name, TaskSummaryPerFuncOrClassName(name, task["type"]))
            entry.state_counts[task["state"]] = entry.state_counts.get(task["state"], 0) + 1
            kinds[task["type"]] += 1
        return cls(found, kinds["NORMAL_TASK"], kinds["ACTOR_TASK"], kinds["ACTOR_CREATION_TASK"])

    @classmethod
    def to_summary_by_lineage(
        cls, *, tasks: Sequence[Mapping[str, Any]], actors: Sequence[Mapping[str, Any]]
    ) -> TaskSummaries:
        """Count calls below the call that made them; those of an actor below the actor."""
        names = {actor["actor_id"]: actor["class_name"] for actor in actors}
        nodes: dict[str, NestedTaskSummary] = {}
        roots: list[NestedTaskSummary] = []
        for task in tasks:
            link = Link("task", task["task_id"])
            nodes[task["task_id"]] = NestedTaskSummary(
                task["name"],
                task["task_id"],
                task["type"],
                task.get("creation_time_ms"),
                {task["state"]: 1},
                [],
                link,
            )
        of_actors: dict[str, NestedTaskSummary] = {}
        for task in tasks:
            node, actor = nodes[task["task_id"]], task.get("actor_id")
            parent = nodes.get(task.get("parent_task_id") or "")
            if actor:
                if actor not in of_actors:
                    name = names.get(actor, "unknown actor")
                    of_actors[actor] = NestedTaskSummary(
                        name, f"actor:{actor}", "ACTOR", link=Link("actor", actor)
                    )
                    roots.append(of_actors[actor])
                of_actors[actor].children.append(node)
            else:
                (roots if parent is None else parent.children).append(node)
        flat = cls.to_summary_by_func_name(tasks=tasks)
        return cls(roots, flat.total_tasks, flat.total_actor_tasks, flat.total_actor_scheduled, "lineage")


@attrs.define
class ActorSummaryPerClass:
    """Actors of one class, by their state."""

    class_name: str
    state_counts: dict[str, int] = attrs.field(factory=dict)


@attrs.define
class ActorSummaries:
    """Actors by class."""

    summary: dict[str, ActorSummaryPerClass]
    total_actors: int
    summary_by: str = "class"

    @classmethod
    def to_summary(cls, *, actors: Iterable[Mapping[str, Any]]) -> ActorSummaries:
        """Count actors by class and state."""
        found: dict[str, ActorSummaryPerClass] = {}
        total = 0
        for actor in actors:
            entry = found.setdefault(actor["class_name"], ActorSummaryPerClass(actor["class_name"]))
            entry.state_counts[actor["state"]] = entry.state_counts.get(actor["state"], 0) + 1
            total += 1
        return cls(found, total)


@attrs.define
class ObjectSummaryPerKey:
    """Objects made at one place."""

    total_objects: int
    total_size_mb: float
    total_num_workers: int
    total_num_nodes: int
    task_state_counts: dict[str, int] = attrs.field(factory=dict)
    task_attempt_number_counts: dict[str, int] = attrs.field(factory=dict)
    ref_type_counts: dict[str, int] = attrs.field(factory=dict)


@attrs.define
class ObjectSummaries:
    """Objects by the place that they were made at."""

    summary: dict[str, ObjectSummaryPerKey]
    total_objects: int
    total_size_mb: float
    callsite_enabled: bool
    summary_by: str = "callsite"

    @classmethod
    def to_summary(cls, *, objects: Iterable[Mapping[str, Any]]) -> ObjectSummaries:
        """Add objects up by the place that they were made at."""
        groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for one in objects:
            groups[one.get("call_site") or "disabled"].append(one)
        found = {place: _of_one_place(members) for place, members in groups.items()}
        total = sum(len(members) for members in groups.values())
        return cls(found, total, sum(one.total_size_mb for one in found.values()), "disabled" not in groups)


def _of_one_place(members: Sequence[Mapping[str, Any]]) -> ObjectSummaryPerKey:
    def counts(column: str) -> dict[str, int]:
        return dict(Counter(str(one.get(column)) for one in members))

    return ObjectSummaryPerKey(
        total_objects=len(members),
        total_size_mb=sum(max(one.get("object_size") or 0, 0) for one in members) / 2**20,
        total_num_workers=len({(one.get("pid"), one.get("ip")) for one in members}),
        total_num_nodes=len({one.get("ip") for one in members}),
        task_state_counts=counts("task_status"),
        task_attempt_number_counts=counts("attempt_number"),
        ref_type_counts=counts("reference_type"),
    )


@attrs.define
class StateSummary:
    """Summaries by node; "cluster" is all of them together."""

    node_id_to_summary: dict[str, Any]
