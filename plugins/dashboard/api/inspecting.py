"""Looking into a process: its stack, where it spends its time, what it allocates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.requests import Request

    from shoal.dashboard.context import SessionContext

_KINDS = ("stack", "flame", "memory")
_MOST_SECONDS = 60
_MORE_SECONDS = 50.0  # that it may take beside the time that was asked for
INSPECTION: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": list(_KINDS)},
        "node": {"type": "string", "description": "Its node; empty: the head's."},
        "worker": {"type": "string", "description": "Identifier of a worker or driver, or daemon."},
        "seconds": {"type": "number", "minimum": 1, "maximum": _MOST_SECONDS},
    },
    "required": ["kind", "worker"],
}


async def inspection(request: Request) -> tuple[str, str, str, float]:
    """Return what is asked for: kind, node, worker, seconds. Raises HTTPException (400)."""
    from starlette.exceptions import HTTPException

    try:
        body = await request.json()
        kind, node, worker = body["kind"], body.get("node", ""), body["worker"]
        seconds = body.get("seconds", 5)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise HTTPException(
            400, 'the body must be {"kind": …, "worker": …, "node": …, "seconds": …}'
        ) from None
    if kind not in _KINDS:
        raise HTTPException(400, f"kind must be one of {', '.join(_KINDS)}, not {str(kind)[:80]!r}")
    if not (isinstance(node, str) and isinstance(worker, str)):
        raise HTTPException(400, "node and worker must be text")
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not 1 <= seconds <= _MOST_SECONDS
    ):
        raise HTTPException(
            400, f"seconds must be a number from 1 to {_MOST_SECONDS}, not {str(seconds)[:80]!r}"
        )
    return kind, node, worker, float(seconds)


def inspected(
    context: SessionContext, kind: str, node: str, worker: str, seconds: float
) -> Mapping[str, Any]:
    """Have a process looked into. Raises LookupError, ConfigError, GetTimeout, SystemFailure."""
    with context.lock:
        watching = context.watched()
    return watching.errand(node, kind, {"worker": worker, "seconds": seconds}, seconds + _MORE_SECONDS)
