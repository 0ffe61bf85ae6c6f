"""Numbers that users' code counts: `Counter`, `Gauge` and `Histogram`, which know in which replica they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.serve.context import replica_context_or_none
from shoal.util import metrics

_KEYS = ("application", "deployment", "replica")


def _keys(given: Sequence[str] | None) -> tuple[str, ...]:
    return (*(given or ()), *(each for each in _KEYS if each not in (given or ())))


def _tags() -> Mapping[str, str]:
    here = replica_context_or_none()
    if here is None:
        return {}
    return {"application": here.app_name, "deployment": here.deployment, "replica": here.replica_tag}


class Counter(metrics.Counter):
    """A number that only grows; its samples carry application, deployment and replica.

    Example: `Counter("tokens", "tokens made").inc(12)`
    """

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        super().__init__(name, description, _keys(tag_keys))
        self.set_default_tags(_tags())


class Gauge(metrics.Gauge):
    """A number that goes up and down; its samples carry application, deployment and replica."""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        super().__init__(name, description, _keys(tag_keys))
        self.set_default_tags(_tags())


class Histogram(metrics.Histogram):
    """How values are spread; its samples carry application, deployment and replica."""

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Any = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, description, boundaries, _keys(tag_keys))
        self.set_default_tags(_tags())
