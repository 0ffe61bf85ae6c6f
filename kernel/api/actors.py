"""Finding and ending actors."""

from __future__ import annotations

from typing import Any, NoReturn

from shoal.api.handle import ActorHandle
from shoal.api.session import engine_or_start
from shoal.errors import ActorExit, describe


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """Return a handle of the living actor with that name, in this session's namespace or the one given.

    The handle does not keep the actor alive. Raises ValueError if there is none, naming those there are.

    Example: `shoal.get_actor("registry")`
    """
    _check_text("an actor's name", name)
    if namespace is not None:
        _check_text("a namespace", namespace)
    return ActorHandle(engine_or_start().get_actor(name, namespace))


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Return the names of living named actors, sorted; with `all_namespaces` mappings of name and namespace."""
    engine = engine_or_start()
    here = engine.context().namespace
    named = sorted(
        (info.namespace, info.name) for info in engine.actors() if info.name and info.state != "DEAD"
    )
    if all_namespaces:
        return [{"namespace": namespace, "name": name} for namespace, name in named]
    return [name for namespace, name in named if namespace == here]


def kill(actor: ActorHandle[Any], *, no_restart: bool = True) -> None:
    """End an actor at once, without waiting for its calls: they raise ActorDied.

    With `no_restart=False` an actor that has restarts left starts again. To end an actor after the calls it has
    already, drop its handles or call `handle.__shoal_terminate__.remote()`.
    Raises TypeError for anything but a handle.
    """
    if not isinstance(actor, ActorHandle):
        raise TypeError(f"kill() takes an actor's handle, not {describe(actor)}; to stop a task use cancel()")
    engine_or_start().kill(actor._shoal_info.actor_id, no_restart)


def exit_actor() -> NoReturn:
    """End the actor that calls this, after the current call, whose result is ActorDied. It is not restarted.

    Raises TypeError outside an actor.
    """
    where = engine_or_start().context()
    if not where.actor_id or where.is_driver:
        raise TypeError("exit_actor() ends the actor that calls it, and this is not an actor")
    raise ActorExit


def _check_text(what: str, text: Any) -> None:
    if not isinstance(text, str) or not text:
        raise ValueError(f"{what} is text that is not empty, not {describe(text)}")
