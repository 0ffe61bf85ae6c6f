"""Classes whose instances are actors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from shoal.api.graphs import graph_library
from shoal.api.handle import ActorHandle
from shoal.api.options import check_options
from shoal.api.session import engine_or_start
from shoal.api.signature import of_constructor, of_method
from shoal.api.templates import actor_template, short_name
from shoal.errors import ConfigError
from shoal.interfaces.current import current
from shoal.spec.calls import ActorTemplate

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from shoal.api.options import ActorOptions

T = TypeVar("T")


class ActorClass(Generic[T]):
    """A class whose instances are actors. Made by `@shoal.remote`; create one with `.remote(...)`."""

    def __init__(self, cls: type[T], options: Mapping[str, Any]) -> None:
        self.__name__: str = cls.__name__
        self.__qualname__ = cls.__qualname__
        self.__module__ = cls.__module__
        self.__doc__ = cls.__doc__
        self.__wrapped__ = cls
        self._options = dict(options)
        self._template = actor_template(cls, options)
        self._constructor = of_constructor(cls)
        self._arguments = {name: of_method(cls, name) for name in self._template.methods}

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Create an actor and return its handle at once; the constructor runs in the background.

        If the constructor raises, calls to the actor raise ActorDied with that as the cause.
        Raises TypeError if the arguments do not fit, NotSerializable, and ActorNameTaken for a name in use.

        Example: `counter = Counter.remote(start=5)`
        """
        engine = current.engine
        if engine is None:
            engine = engine_or_start()
        if self._template.durability is not None and "durable_actors" not in engine.capabilities:
            raise ConfigError(
                f"the engine {engine.name!r} keeps no states of actors: {self.__name__} cannot be durable on it; use "
                "another engine, or leave durable out"
            )
        constructor = self._constructor
        if kwargs or not constructor.least <= len(args) <= constructor.most:
            constructor.check(args, kwargs, short_name(self.__wrapped__))
        follower = current.follower
        if follower is not None:
            info, lifetime = follower.create_actor(engine, self._template, args, kwargs)
        else:
            info, lifetime = engine.create_actor(self._template, args, kwargs)
        return ActorHandle(info, lifetime, self._arguments)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return a node of a graph that stands for a new actor; its methods have `.bind(...)`. Nothing runs yet.

        Example: `Counter.bind(5).add.bind(1).execute()` returns the reference to the call's result
        """
        return graph_library().class_node(self, args, kwargs, self._options)

    def options(self, **options: Unpack[ActorOptions]) -> ActorClass[T]:
        """Return the same class with other options. Raises ConfigError for one that is unknown or wrong.

        Example: `Counter.options(name="global", get_if_exists=True).remote()`
        """
        return ActorClass(self.__wrapped__, {**self._options, **check_options(options, "actor")})

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self.__name__
        raise TypeError(
            f"an actor class cannot be instantiated directly: instead of {name}(...) write {name}.remote(...), "
            f"which returns a handle. The plain class is {name}.__wrapped__."
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        raise TypeError(
            f"an actor class cannot be a base class: make {self.__name__} a plain class, inherit from that, and "
            "decorate the subclasses (or use shoal.remote(PlainClass))"
        )

    def __repr__(self) -> str:
        return f"ActorClass({self.__module__}.{short_name(self.__wrapped__)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorClass, (self.__wrapped__, self._options)

    @property
    def template(self) -> ActorTemplate:
        """What engines are given for each new actor."""
        return self._template
