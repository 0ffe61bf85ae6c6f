"""Following calls from who submits them to where they run, for tracing and the like.

Observers are told when a call is over; who follows calls stands in their way: it may send something along with each,
and wrap what runs in the other process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.interfaces.engine import CallResult, Engine
    from shoal.interfaces.refs import ObjectRef
    from shoal.spec.calls import ActorInfo, ActorTemplate, MethodTemplate, TaskTemplate


class Follower(ABC):
    """Gets every call of this process on its way to the engine, and hands it on, as it is or changed.

    Methods may be called from any thread, and raise what the engine raises. One is put into `current.follower`.
    """

    @abstractmethod
    def submit(
        self, engine: Engine, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        """Hand a task to `engine.submit`."""

    @abstractmethod
    def create_actor(
        self, engine: Engine, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        """Hand an actor to `engine.create_actor`."""

    @abstractmethod
    def call_actor(
        self,
        engine: Engine,
        info: ActorInfo,
        template: MethodTemplate,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> CallResult:
        """Hand a call of an actor to `engine.call_actor`."""
