"""Handles of actors and their methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar

import attrs

from shoal.api.durability import refuse_method
from shoal.api.graphs import graph_library
from shoal.api.kept import call_keeping, keeping_template
from shoal.api.options import check_options
from shoal.api.session import ended
from shoal.api.signature import ANYTHING, Arguments
from shoal.api.transports import STORE
from shoal.errors import ActorExit
from shoal.ids import ActorID
from shoal.interfaces.current import current
from shoal.interfaces.refs import ObjectRef
from shoal.spec.calls import CALL, ActorInfo, MethodTemplate

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from shoal.api.options import MethodOptions

T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


def _ready(instance: Any) -> bool:
    return True


def _terminate(instance: Any) -> NoReturn:
    raise ActorExit


class ActorMethod:
    """A method of one actor; call it with `.remote(...)`. It keeps the actor alive as a handle does."""

    __slots__ = ("_arguments", "_info", "_least", "_lifetime", "_most", "_template")

    def __init__(
        self, info: ActorInfo, lifetime: ObjectRef[Any] | None, template: MethodTemplate, arguments: Arguments
    ) -> None:
        self._info = info
        self._lifetime = lifetime
        self._template = template
        self._arguments = arguments
        self._least, self._most = arguments.least, arguments.most

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method and return the reference to its result at once.

        With `num_returns` other than 1 it returns None (0), a list of references, or a generator of them. Calls from
        one caller start in order, unless the actor has several threads, groups or is async.
        Raises TypeError if the arguments do not fit, NotSerializable, PendingCallsLimitExceeded.

        Example: `shoal.get(counter.add.remote(1))`
        """
        engine = current.engine
        if engine is None:
            ended(f"actor {self._info.class_name}")
        if kwargs or not self._least <= len(args) <= self._most:
            self._arguments.check(args, kwargs, f"{self._info.class_name}.{self._template.name}")
        if current.follower is not None:
            return current.follower.call_actor(engine, self._info, self._template, args, kwargs)
        return engine.call_actor(self._info, self._template, args, kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return a node of a graph that stands for this call; arguments may be nodes. Nothing runs yet.

        With `num_returns` above 1 it returns a tuple of nodes, one for each value.

        Example: `counter.add.bind(other.read.bind()).execute()`
        """
        if kwargs or not self._least <= len(args) <= self._most:
            self._arguments.check(args, kwargs, f"{self._info.class_name}.{self._template.name}")
        handle: ActorHandle[Any] = ActorHandle(self._info, self._lifetime)
        return graph_library().method_node(
            handle, self, self._template.name, self._template.num_returns, args, kwargs
        )

    def options(self, **options: Unpack[MethodOptions]) -> ActorMethod:
        """Return the same method with other options. Raises ConfigError for one that is unknown or wrong."""
        checked = check_options(options, "method")
        changes: dict[str, Any] = {}
        for name, value in checked.items():
            if name == "name":
                changes["display_name"] = value or ""
            elif name == "_generator_backpressure_num_objects":
                changes["backpressure"] = max(value or 0, 0)
            elif name == "retry_exceptions":
                changes[name] = value or False
            elif name == "num_returns" and value is None:
                continue
            elif name == "tensor_transport":
                changes[name] = None if value == STORE else value
            elif name != "enable_task_events":
                changes[name] = value
        template = attrs.evolve(self._template, prepared=None, **changes)
        if self._info.exactly_once:
            refuse_method(self._info.class_name, template)
        return method_of(self._info, self._lifetime, template, self._arguments)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self._template.name
        raise TypeError(
            f"an actor's method cannot be called directly: instead of handle.{name}(...) write "
            f"handle.{name}.remote(...), which returns a reference"
        )

    def __repr__(self) -> str:
        return f"ActorMethod({self._info.class_name}.{self._template.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return method_of, (self._info, self._lifetime, self._template, ANYTHING)


class _KeepingMethod(ActorMethod):
    """A method whose results' tensors stay in the actor."""

    __slots__ = ("_keeping",)

    def __init__(
        self, info: ActorInfo, lifetime: ObjectRef[Any] | None, template: MethodTemplate, arguments: Arguments
    ) -> None:
        super().__init__(info, lifetime, template, arguments)
        self._keeping = keeping_template(CALL, template)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        engine = current.engine
        if engine is None:
            ended(f"actor {self._info.class_name}")
        if kwargs or not self._least <= len(args) <= self._most:
            self._arguments.check(args, kwargs, f"{self._info.class_name}.{self._template.name}")

        def call(given: tuple[Any, ...]) -> Any:
            if current.follower is not None:
                return current.follower.call_actor(engine, self._info, self._keeping, given, kwargs)
            return engine.call_actor(self._info, self._keeping, given, kwargs)

        return call_keeping(call, engine, self._template, self._lifetime, args)


def method_of(
    info: ActorInfo, lifetime: ObjectRef[Any] | None, template: MethodTemplate, arguments: Arguments
) -> ActorMethod:
    """Return what calls a method with that template."""
    kind = ActorMethod if template.tensor_transport is None else _KeepingMethod
    return kind(info, lifetime, template, arguments)


class _CallMethod(ActorMethod):
    """`handle.__shoal_call__`: runs any function in the actor's process, with the instance as its first argument."""

    __slots__ = ()


class _FixedMethod(ActorMethod):
    """`__shoal_ready__` and `__shoal_terminate__`: a call whose function is known."""

    __slots__ = ("_function",)

    def __init__(self, info: ActorInfo, lifetime: ObjectRef[Any] | None, function: Any) -> None:
        super().__init__(info, lifetime, CALL, ANYTHING)
        self._function = function

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            raise TypeError(f"{self._function.__name__.strip('_')} takes no arguments")
        return super().remote(self._function)

    def __reduce__(self) -> tuple[Any, ...]:
        return _FixedMethod, (self._info, self._lifetime, self._function)


class ActorHandle(Generic[T_co]):
    """What calls an actor: each method of its class as an attribute with `.remote(...)`.

    Equal and hashed by the actor. Passing it to a task or actor makes a copy that keeps the actor alive as well; when
    the last copy goes, so does the actor, unless it is detached. All actors also have `__shoal_ready__` (ready when
    the constructor has run), `__shoal_call__` (runs a function on the instance) and `__shoal_terminate__` (ends the
    actor after the calls before it); the reference system's names for them work too.

    Example: `counter = Counter.remote(); shoal.get(counter.add.remote(1))`
    """

    def __init__(
        self,
        info: ActorInfo,
        lifetime: ObjectRef[Any] | None = None,
        arguments: Mapping[str, Arguments] | None = None,
    ) -> None:
        # Names that no method has: user methods become attributes of this object.
        self._shoal_info = info
        self._shoal_lifetime = lifetime
        self._shoal_arguments = arguments or {}

    def __getattr__(self, name: str) -> ActorMethod:
        if name.startswith("_shoal_"):  # asked for by pickle or copy before __init__
            raise AttributeError(name)
        info, lifetime = self._shoal_info, self._shoal_lifetime
        template = info.methods.get(name)
        if template is not None:
            # A method holds the lifetime reference, not this handle: a cycle would let only the collector end actors.
            method = method_of(info, lifetime, template, self._shoal_arguments.get(name, ANYTHING))
        elif name == "__shoal_call__":
            method = _CallMethod(info, lifetime, CALL, ANYTHING)
        elif name == "__shoal_ready__":
            method = _FixedMethod(info, lifetime, _ready)
        elif name == "__shoal_terminate__":
            method = _FixedMethod(info, lifetime, _terminate)
        else:
            methods = ", ".join(sorted(info.methods)) or "none"
            raise AttributeError(f"actor {info.class_name} has no method {name!r}; it has: {methods}")
        self.__dict__[name] = method
        return method

    @property
    def __ray_call__(self) -> ActorMethod:
        """The reference's name of `__shoal_call__`."""
        return self.__shoal_call__

    @property
    def __ray_ready__(self) -> ActorMethod:
        """The reference's name of `__shoal_ready__`."""
        return self.__shoal_ready__

    @property
    def __ray_terminate__(self) -> ActorMethod:
        """The reference's name of `__shoal_terminate__`."""
        return self.__shoal_terminate__

    def __dir__(self) -> list[str]:
        return sorted(self._shoal_info.methods)

    @property
    def _actor_id(self) -> ActorID:
        engine = current.engine
        job = {} if engine is None else {"job": bytes(engine.context().job_id)}
        return ActorID.told(self._shoal_info.actor_id, **job)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._shoal_info.actor_id == other._shoal_info.actor_id

    def __hash__(self) -> int:
        return hash(self._shoal_info.actor_id)

    def __repr__(self) -> str:
        return f"ActorHandle({self._shoal_info.class_name}, {self._shoal_info.actor_id.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (self._shoal_info, self._shoal_lifetime)


if TYPE_CHECKING:
    # What `shoal.mypy_plugin` takes the methods of a handle for, as far as it knows the actor's class.

    class TypedMethod(ActorMethod, Generic[P, R]):
        """A method whose parameters and result are known."""

        def remote(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
