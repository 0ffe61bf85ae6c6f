"""What long work tells of itself: how far a pipeline is, which epoch a training is in, what an application serves.

Whoever does the work tells it now and then; the dashboard's pages and `told` show what was told last. It is kept in the
session's key-value store, by kind and name, the newest hundred of each kind.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from shoal.errors import describe
from shoal.interfaces.current import current

NAMESPACE = "reports"
_MOST = 100  # of one kind that are kept
_MOST_BYTES = 1 << 18  # of one report as JSON


@attrs.frozen
class Report:
    """What was told last of one piece of work; `time` is in seconds since 1970."""

    kind: str
    name: str
    time: float
    facts: Mapping[str, Any]


def tell(kind: str, name: str, facts: Mapping[str, Any]) -> bool:
    """Tell how work stands, in the place of what was told under the same kind and name before.

    Parameters: `facts` is what JSON can write, at most 256 KiB of it. Tell at most about once a second: each time is a
    request to the head.
    Returns whether it was told: without a session nobody listens.
    Raises ValueError for a kind with a slash and for facts that are too large, TypeError for what JSON cannot write.

    Example: `tell("data", "pipeline 7", {"rows": 1000})`
    """
    if not kind or "/" in kind:
        raise ValueError(f"kind must be a word without a slash, such as 'data', not {describe(kind)}")
    value = json.dumps({"time": time.time(), "facts": dict(facts)}).encode()
    if len(value) > _MOST_BYTES:
        raise ValueError(f"a report has at most {_MOST_BYTES} bytes as JSON, not {len(value)}")
    engine = current.engine
    if engine is None or engine.closed:
        return False
    if engine.kv_put(f"{kind}/{name}".encode(), value, True, NAMESPACE):
        keys = engine.kv_keys(f"{kind}/".encode(), NAMESPACE)
        if len(keys) > _MOST:
            stored = ((key, engine.kv_get(key, NAMESPACE)) for key in keys)
            there = sorted(read((key, value) for key, value in stored if value), key=lambda one: one.time)
            for report in there[: len(there) - _MOST]:
                engine.kv_delete(f"{kind}/{report.name}".encode(), NAMESPACE)
    return True


def told(kind: str) -> list[Report]:
    """Return what was told of one kind in this session, the newest first.

    Example: `[report.facts["rows"] for report in told("data")]`
    """
    engine = current.engine
    if engine is None:
        return []
    keys = engine.kv_keys(f"{kind}/".encode(), NAMESPACE)
    stored = ((key, engine.kv_get(key, NAMESPACE)) for key in keys)
    return sorted(read((key, value) for key, value in stored if value), key=lambda one: -one.time)


def read(stored: Iterable[tuple[bytes, bytes]]) -> list[Report]:
    """Return reports of keys and values as they are stored.

    Example: `read(map(tuple, seen.known["reports"]))`
    """
    found = []
    for key, value in stored:
        kind, _, name = bytes(key).decode().partition("/")
        content = json.loads(bytes(value))
        found.append(Report(kind, name, content["time"], content["facts"]))
    return found
