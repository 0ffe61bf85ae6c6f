"""Actors of one class that are called together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal import ActorHandle, ObjectRef


@attrs.frozen
class ActorMetadata:
    """Where one actor of a group runs."""

    node_id: str
    node_ip: str
    hostname: str
    gpu_ids: list[str] | None


@attrs.frozen
class Member:
    """One actor of a group."""

    actor: ActorHandle[Any]
    metadata: ActorMetadata


class _MethodOfAll:
    def __init__(self, group: ActorGroup, name: str) -> None:
        self._group = group
        self._name = name

    def remote(self, *args: Any, **kwargs: Any) -> list[ObjectRef[Any]]:
        return [getattr(member.actor, self._name).remote(*args, **kwargs) for member in self._group.actors]


class ActorGroup:
    """Creates actors of one class, and calls a method on all of them: `group.method.remote(...)` gives a list.

    Parameters: `actor_cls` is a plain class, `num_actors` how many to create, each of which holds the CPUs and GPUs and
    resources given, `init_args` and `init_kwargs` go to the constructor.
    """

    def __init__(
        self,
        actor_cls: type,
        num_actors: int = 1,
        num_cpus_per_actor: float = 1,
        num_gpus_per_actor: float = 0,
        resources_per_actor: Mapping[str, float] | None = None,
        init_args: Sequence[Any] = (),
        init_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if num_actors < 1:
            raise ValueError(f"num_actors must be ≥ 1, not {num_actors}")
        self._class: Any = shoal.remote(actor_cls).options(
            num_cpus=num_cpus_per_actor, num_gpus=num_gpus_per_actor, resources=resources_per_actor
        )
        self._arguments = (tuple(init_args), dict(init_kwargs or {}))
        self._count = num_actors
        self.actors: list[Member] = []
        self.start()

    def __getattr__(self, name: str) -> _MethodOfAll:
        if name.startswith("_"):
            raise AttributeError(name)
        if not self.actors:
            raise RuntimeError("the group has no actors: it was shut down, start() it again")
        getattr(self.actors[0].actor, name)  # says which methods there are if this is none
        return _MethodOfAll(self, name)

    def __len__(self) -> int:
        return len(self.actors)

    def __getitem__(self, item: int) -> Member:
        return self.actors[item]

    def start(self) -> None:
        """Create the actors, and return when their constructors have run. Raises RuntimeError if there are some."""
        if self.actors:
            raise RuntimeError("the group has been started already")
        self.add_actors(self._count)

    def add_actors(self, num_actors: int) -> None:
        """Create that many more. Raises ActorDied if a constructor raises."""
        args, kwargs = self._arguments
        actors = [self._class.remote(*args, **kwargs) for _ in range(num_actors)]
        found = shoal.get([actor.__shoal_call__.remote(_metadata) for actor in actors])
        self.actors += [Member(actor, metadata) for actor, metadata in zip(actors, found, strict=True)]

    def remove_actors(self, actor_indexes: Sequence[int]) -> None:
        """End the actors with these indexes; the others move up. Raises IndexError."""
        going = {id(self.actors[index]) for index in actor_indexes}
        for member in self.actors:
            if id(member) in going:
                shoal.kill(member.actor)
        self.actors = [member for member in self.actors if id(member) not in going]

    @property
    def actor_metadata(self) -> list[ActorMetadata]:
        """Where each actor runs."""
        return [member.metadata for member in self.actors]

    def shutdown(self, patience_s: float = 5) -> None:
        """End the actors: after the calls that they have, for which they get `patience_s` seconds; then at once."""
        done = [member.actor.__shoal_terminate__.remote() for member in self.actors] if patience_s > 0 else []
        left = shoal.wait(done, num_returns=len(done), timeout=patience_s)[1] if done else []
        if left or not done:
            for member in self.actors:
                shoal.kill(member.actor)
        self.actors = []


def _metadata(instance: Any) -> ActorMetadata:
    import socket

    from shoal.util.nodes import get_node_ip_address

    where = shoal.get_runtime_context()
    return ActorMetadata(
        where.get_node_id(), get_node_ip_address(), socket.gethostname(), shoal.get_gpu_ids() or None
    )
