"""What is told of an instance as a schema, and which deployments call which."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pydantic")

from shoal import serve
from shoal.serve.building import build
from shoal.serve.details import APIType, DurationStats, ServeInstanceDetails


@serve.deployment
class Leaf:
    """Calls nobody."""


@serve.deployment
class Middle:
    """Calls one."""

    def __init__(self, *others: Any) -> None:
        self.others = others


def test_who_has_a_handle_of_whom_is_known() -> None:
    leaf = Leaf.bind()
    spec = build(Middle.options(name="Top").bind(leaf, [Middle.bind(leaf), Leaf.bind(), leaf]), "app", "/")
    calls = {name: each.calls for name, each in spec.deployments.items()}
    assert calls == {"Top": ("Leaf", "Middle", "Leaf_1"), "Middle": ("Leaf",), "Leaf": (), "Leaf_1": ()}


def test_durations_and_nothing() -> None:
    assert DurationStats.from_values([1.0, 3.0]).model_dump() == {
        "mean": 2.0,
        "std": 1.0,
        "min": 1.0,
        "max": 3.0,
    }
    assert DurationStats.from_values([]).mean == 0.0
    assert ServeInstanceDetails.get_empty_schema_dict()["applications"] == {}
    assert APIType.get_valid_user_values() == ["imperative", "declarative"]
