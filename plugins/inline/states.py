"""The states of durable actors: kept after every call, whatever the interval, since nothing is nearer at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import StateNotSaved
from shoal.serial import pack_bytes
from shoal.serial.state import capture_state, restore_state

if TYPE_CHECKING:
    from shoal.inline.actors import Actor


def begin(actor: Actor) -> Any:
    """Return an actor's new instance: constructed, or with what was saved of the last one.

    Raises what the class raises, and StateNotSaved for a first state that cannot be saved.
    """

    def make() -> Any:
        args, kwargs = actor.creation.arguments()
        return actor.cls(*args, **kwargs)

    durability = actor.template.durability
    if durability is None:
        return make()
    if actor.saved is not None:
        return restore_state(actor.cls, make, actor.saved, durability.by_methods)
    instance = make()
    actor.saved = pack_bytes(capture_state(instance, durability.by_methods))
    return instance


def save(actor: Actor, most_bytes: int) -> None:
    """Keep the state after a call. One that cannot be kept is undone: raises StateNotSaved."""
    durability = actor.template.durability
    if durability is None:
        return
    try:
        payload = capture_state(actor.instance, durability.by_methods)
        if payload.size > most_bytes:
            raise StateNotSaved(
                f"the state of actor {actor.info.class_name} takes {payload.size:,} bytes, and durable_state_max_bytes "
                f"allows {most_bytes:,}; keep less in it, or raise the setting"
            )
        actor.saved = pack_bytes(payload)
    except StateNotSaved as error:
        actor.instance = begin(actor)
        raise StateNotSaved(f"{error}. The call was not applied") from error
