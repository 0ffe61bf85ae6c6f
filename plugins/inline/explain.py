"""Why something is not ready, from the nearest reason to the root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.inline.calls import RUNNING, Call
from shoal.inline.core import Core
from shoal.inline.node import GroupGone
from shoal.inline.results import FAILED, FREED, PENDING, Result
from shoal.spec.view import Demand, Explanation

if TYPE_CHECKING:
    from shoal.inline.actors import Actor

DEPTH = 20  # links of a chain that are followed


def explain_result(core: Core, result: Result) -> Explanation:
    """Explain one object."""
    subject = f"object {result.id.hex()}"
    if result.state == FAILED:
        return _explanation(subject, "failed", ["get() raises its error"])
    if result.state == FREED:
        return _explanation(subject, "freed", ["free() was called on it"])
    if result.state != PENDING:
        return Explanation(subject=subject, state="ready")
    reasons: list[str] = []
    _follow(core, result, reasons)
    return _explanation(subject, "not ready", reasons)


def explain_actor(core: Core, actor: Actor | None, actor_id: bytes) -> Explanation:
    """Explain one actor."""
    if actor is None:
        return Explanation(subject=f"actor {actor_id.hex()}", state="unknown to this session")
    subject = f"actor {actor.info.class_name} {actor_id.hex()}"
    reasons: list[str] = []
    if actor.state == "DEAD":
        reasons.append(str(actor.death))
    elif actor.state == "PENDING":
        _of_call(core, actor.creation, reasons)
    return _explanation(subject, actor.state.lower(), reasons)


def _explanation(subject: str, state: str, reasons: Any) -> Explanation:
    return Explanation(subject=subject, state=state, reasons=reasons)


def _follow(core: Core, result: Result, reasons: list[str]) -> None:
    call = result.call
    if call is None:
        reasons.append("its placement group is not reserved")
        reasons.extend(group.reason for group in core.node.groups.values() if group.ready is result)
        return
    _of_call(core, call, reasons)


def _of_call(core: Core, call: Call, reasons: list[str]) -> None:
    if len(reasons) >= DEPTH:
        return
    if call.state == RUNNING:
        reasons.append(f"{call.name}() is running")
        return
    for ref in call.waits_for:
        if not ref.record.done:
            reasons.append(f"{call.name}() waits for its argument {ref.hex()}")
            _follow(core, ref.record, reasons)
            return
    actor = call.actor
    if actor is None:
        reasons.append(f"{call.name}() waits for resources: {_room(core, call.demand)}")
    elif actor.state == "PENDING":
        reasons.append(f"{call.name}() waits for its actor to be created")
        _of_call(core, actor.creation, reasons)
    elif actor.running:
        reasons.append(f"{call.name}() waits for {actor.running[0].name}(), which runs in the actor now")
    else:
        reasons.append(f"{call.name}() is queued")


def _room(core: Core, demand: Demand) -> str:
    try:
        return core.why_not(demand)
    except GroupGone:
        return "its placement group was removed"
