"""Pipelines made at random give what plain Python gives: any verbs, any order, blocks of any sizes, nulls anywhere."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import attrs
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shoal.data
from shoal.data import Dataset, col
from shoal.data.aggregate import Count, CountDistinct, Max, Mean, Min, Sum

pytestmark = pytest.mark.usefixtures("inline")

Row = dict[str, Any]
SCHEMA = pa.schema([("k", pa.int64()), ("v", pa.int64()), ("s", pa.string())])
ROWS = st.fixed_dictionaries(
    {
        "k": st.none() | st.integers(-3, 3),
        "v": st.none() | st.integers(-1000, 1000),
        "s": st.none() | st.text("aé\U0001f41f", max_size=3),
    }
)
NAMES = ["k", "v", "s"]


@attrs.frozen
class Step:
    """One step of a pipeline: for a dataset, and for rows in Python."""

    name: str
    of_dataset: Callable[[Dataset], Dataset]
    of_rows: Callable[[list[Row]], list[Row]]

    def __repr__(self) -> str:
        return self.name


def in_order(value: Any) -> tuple[bool, Any]:
    return (value is None, value)


def by(*names: str, descending: bool = False) -> Callable[[list[Row]], list[Row]]:
    """Sort, nulls last whatever the direction, equal rows in the order that they had."""

    def ordered(rows: list[Row]) -> list[Row]:
        for name in reversed(names):
            nulls = [row for row in rows if row[name] is None]
            values = [row for row in rows if row[name] is not None]
            rows = sorted(
                values, key=lambda row: row[name], reverse=descending
            )  # keeps the order of equal ones
            rows = rows + nulls
        return rows

    return ordered


total = by(*NAMES)


def totally(dataset: Dataset) -> Dataset:
    return dataset.sort(NAMES)


def groups_in(rows: list[Row], *names: str) -> list[list[Row]]:
    made: dict[Any, list[Row]] = {}
    for row in rows:
        made.setdefault(tuple(row[name] for name in names), []).append(row)
    return [made[key] for key in sorted(made, key=lambda key: [in_order(part) for part in key])]


def known(rows: list[Row]) -> list[int]:
    return [row["v"] for row in rows if row["v"] is not None]


def aggregated(rows: list[Row]) -> list[Row]:
    return [
        {
            "k": group[0]["k"],
            "v": (sum(known(group)) if known(group) else None),
            "s": f"{len(group)} {len(known(group))} {min(known(group), default=None)} "
            f"{max(known(group), default=None)} {len(set(known(group)))} {mean(known(group))}",
        }
        for group in groups_in(rows, "k")
    ]


def mean(values: list[int]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def aggregate(dataset: Dataset) -> Dataset:
    def told(batch: pa.Table) -> pa.Table:
        rows = [
            {
                "k": row["k"],
                "v": row["sum(v)"],
                "s": f"{row['n']} {row['there']} {row['min(v)']} {row['max(v)']} {row['count_distinct(v)']} "
                f"{None if row['mean(v)'] is None else round(row['mean(v)'], 6)}",
            }
            for row in batch.to_pylist()
        ]
        return pa.Table.from_pylist(rows, SCHEMA)

    grouped = dataset.groupby("k").aggregate(
        Sum("v"),
        Count(alias_name="n"),
        Count("v", ignore_nulls=True, alias_name="there"),
        Min("v"),
        Max("v"),
        CountDistinct("v"),
        Mean("v"),
    )
    return grouped.sort("k").map_batches(told, batch_format="pyarrow")


def first_of_groups(dataset: Dataset) -> Dataset:
    def first(group: pa.Table) -> pa.Table:
        return group.sort_by([(name, "ascending") for name in NAMES]).slice(0, 1)

    return totally(dataset.groupby(["k", "s"]).map_groups(first, batch_format="pyarrow"))


def joined(kind: str) -> Step:
    """Join with the groups of the same rows that have an even key."""

    def of_dataset(dataset: Dataset) -> Dataset:
        right = (
            dataset.filter(lambda row: row["k"] is None or row["k"] % 2 == 0).groupby("k").aggregate(Max("v"))
        )
        both = dataset.join(right, kind, on="k")

        def told(batch: pa.Table) -> pa.Table:
            rows = [
                {"k": row["k"], "v": row.get("v", row.get("max(v)")), "s": row.get("s")}
                for row in batch.to_pylist()
            ]
            if kind.endswith("outer") or kind == "inner":
                for row, given in zip(rows, batch.to_pylist(), strict=True):
                    row["s"] = f"{given['s']} {given['max(v)']}"
            return pa.Table.from_pylist(rows, SCHEMA)

        return totally(both.map_batches(told, batch_format="pyarrow"))

    def of_rows(rows: list[Row]) -> list[Row]:
        even = [row for row in rows if row["k"] is None or row["k"] % 2 == 0]
        right = {g[0]["k"]: max(known(g), default=None) for g in groups_in(even, "k")}
        found = {key: value for key, value in right.items() if key is not None}
        pairs = [{**row, "s": f"{row['s']} {found[row['k']]}"} for row in rows if row["k"] in found]
        left = [{**row, "s": f"{row['s']} None"} for row in rows if row["k"] not in found]
        # Every key of the right side is one of the left; null is equal to nothing.
        alone = [{"k": None, "v": None, "s": f"None {right[None]}"}] if None in right else []
        made = {
            "inner": pairs,
            "left_outer": pairs + left,
            "right_outer": pairs + alone,
            "full_outer": pairs + left + alone,
            "left_semi": [row for row in rows if row["k"] in found],
            "left_anti": [row for row in rows if row["k"] not in found],
            "right_semi": [{"k": key, "v": value, "s": None} for key, value in found.items()],
            "right_anti": [{"k": None, "v": right[None], "s": None}] if None in right else [],
        }
        return total(made[kind])

    return Step(f"join {kind}", of_dataset, of_rows)


def bumped(row: Row) -> Row:
    return {**row, "v": None if row["v"] is None else row["v"] + 1}


def both_ways(batch: pa.Table) -> pa.Table:
    return pa.concat_tables([batch, batch])


def ways(number: int) -> list[Step]:
    return [
        Step(
            "filter of a function",
            lambda d: d.filter(lambda row: row["v"] is not None),
            lambda rows: [r for r in rows if r["v"] is not None],
        ),
        Step(
            f"filter v > {number}",
            lambda d: d.filter(expr=col("v") > number),
            lambda rows: [r for r in rows if r["v"] is not None and r["v"] > number],
        ),
        Step("filter nothing left", lambda d: d.filter(expr="k > 100"), lambda rows: []),
        Step("map", lambda d: d.map(bumped), lambda rows: [bumped(r) for r in rows]),
        Step(
            "flat_map",
            lambda d: d.flat_map(lambda row: [row] * ((row["k"] or 0) % 3)),
            lambda rows: [r for r in rows for _ in range((r["k"] or 0) % 3)],
        ),
        Step(
            "with_column",
            lambda d: d.with_column("v", col("v") * 2 + 1),
            lambda rows: [{**r, "v": None if r["v"] is None else r["v"] * 2 + 1} for r in rows],
        ),
        Step(
            "rename and back",
            lambda d: d.rename_columns({"v": "w"}).rename_columns({"w": "v"}).select_columns(NAMES),
            lambda rows: rows,
        ),
        Step(
            "drop and add",
            lambda d: d.drop_columns(["s"]).add_column(
                "s", lambda batch: pa.array(["x"] * batch.num_rows, pa.string()), batch_format="pyarrow"
            ),
            lambda rows: [{**r, "s": "x"} for r in rows],
        ),
        Step(
            "batches of three",
            lambda d: d.map_batches(lambda batch: batch, batch_size=3, batch_format="pyarrow"),
            lambda rows: rows,
        ),
        Step(
            f"limit {abs(number)}",
            lambda d: d.limit(abs(number)),
            lambda rows: list(islice(rows, abs(number))),
        ),
        Step(
            f"repartition {abs(number) % 5 + 1}",
            lambda d: d.repartition(abs(number) % 5 + 1),
            lambda rows: rows,
        ),
        Step("union", lambda d: d.union(d), lambda rows: rows + rows),
        Step("zip", lambda d: d.select_columns(["k", "v"]).zip(d.select_columns(["s"])), lambda rows: rows),
        Step("shuffle", lambda d: totally(d.random_shuffle(seed=abs(number))), total),
        Step("sort", lambda d: d.sort("k"), by("k")),
        Step("sort down", lambda d: d.sort(["s", "k"], descending=True), by("s", "k", descending=True)),
        Step("aggregate", aggregate, aggregated),
        Step(
            "first of groups",
            first_of_groups,
            lambda rows: total([total(group)[0] for group in groups_in(rows, "k", "s")]),
        ),
        Step("materialize", lambda d: d.materialize(), lambda rows: rows),
        *[
            joined(kind)
            for kind in (
                "inner",
                "left_outer",
                "right_outer",
                "full_outer",
                "left_semi",
                "left_anti",
                "right_semi",
                "right_anti",
            )
        ],
    ]


STEPS = st.integers(-12, 12).flatmap(lambda number: st.sampled_from(ways(number)))


@given(
    blocks=st.lists(st.lists(ROWS, max_size=6), min_size=1, max_size=4),
    steps=st.lists(STEPS, max_size=4),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pipeline_gives_what_plain_python_gives(blocks: list[list[Row]], steps: list[Step]) -> None:
    dataset: Dataset = shoal.data.from_arrow([pa.Table.from_pylist(rows, SCHEMA) for rows in blocks])
    rows = [row for block in blocks for row in block]
    for step in steps:
        dataset = step.of_dataset(dataset)
        rows = step.of_rows(rows)
    assert dataset.take_all() == rows
    assert dataset.count() == len(rows)
