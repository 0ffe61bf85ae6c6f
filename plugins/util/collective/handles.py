"""Collective groups as values: made from outside, found by their members, ended by their handle."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from typing import Any

import attrs

import shoal
from shoal.errors import ConfigError, describe
from shoal.util.collective.operations import create_collective_group as _create
from shoal.util.collective.operations import destroy_collective_group as _leave
from shoal.util.collective.types import Backend


@attrs.frozen
class CollectiveHandle:
    """A group of actors that this process has made. The rank of an actor is its place in `actors`."""

    actors: tuple[Any, ...]
    name: str
    backend: str

    def get_rank(self, actor: Any) -> int:
        """Return an actor's number in the group, −1 if it is no member."""
        return self.actors.index(actor) if actor in self.actors else -1


class _Made:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.groups: dict[str, CollectiveHandle] = {}


_made = _Made()


def create_collective_group(actors: Sequence[Any], backend: str, name: str | None = None) -> CollectiveHandle:
    """Make a group of actors and return its handle; in the order given they become members 0, 1, ….

    Raises ConfigError for a name that is in use, no actors, an actor that is there twice, and for a backend that the
    members do not have.

    Example: `group = create_collective_group([a, b], "gloo")`
    """
    members = tuple(actors)
    if not members or len(set(members)) != len(members):
        raise ConfigError(f"a collective group needs one actor or more, each once, not {describe(actors)}")
    name = uuid.uuid4().hex if name is None else name
    with _made.lock:
        if name in _made.groups:
            raise ConfigError(
                f"there is a collective group {name!r} already; end it first, or use another name"
            )
    _create(members, len(members), range(len(members)), backend, name)
    handle = CollectiveHandle(members, name, _one_form(backend))
    with _made.lock:
        _made.groups[name] = handle
    return handle


def get_collective_groups(actors: Sequence[Any], backend: str | None = None) -> list[CollectiveHandle]:
    """Return the groups that this process has made and all these actors are in, of one backend if it is given."""
    wanted = None if backend is None else _one_form(backend)
    with _made.lock:
        groups = list(_made.groups.values())
    return [
        group
        for group in groups
        if set(actors) <= set(group.actors) and (wanted is None or group.backend == wanted)
    ]


def destroy_collective_group(group_or_name: CollectiveHandle | str) -> None:
    """Have all members leave a group. Raises ValueError for one that this process has not made.

    Members that are dead are left alone.
    """
    name = group_or_name if isinstance(group_or_name, str) else group_or_name.name
    with _made.lock:
        handle = _made.groups.pop(name, None)
        known = ", ".join(sorted(_made.groups)) or "none"
    if handle is None:
        raise ValueError(f"this process has made no collective group {name!r}; it has made: {known}")
    for ref in [actor.__shoal_call__.remote(_go, name) for actor in handle.actors]:
        try:
            shoal.get(ref)
        except shoal.errors.ActorError:
            continue


def destroy_all_collective_groups() -> None:
    """Have all members leave every group that this process has made."""
    with _made.lock:
        names = list(_made.groups)
    for name in names:
        destroy_collective_group(name)


def _one_form(backend: str) -> str:
    # One that only the members have registered is not known here.
    known = Backend(backend)
    return str(backend).upper() if known == Backend.UNRECOGNIZED else str(known)


def _go(instance: Any, name: str) -> None:
    _leave(name)
