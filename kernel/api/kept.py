"""Device objects: results whose tensors stay in the actor that made them, until somebody else needs them.

What goes through the object store is a skeleton: the value with numbers in the places of its tensors, and a *token*, an
object that the making actor owns. Whoever has the value has the token, so when the token is released nobody can ask for
the tensors any more, and they go. Loading the skeleton in the actor gives its own tensors back; anywhere else it asks
the actor for them, which answers in a thread beside its calls.
"""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from shoal.api.transports import STORE, all_transports, require_transport, transports_for
from shoal.death import Cause, DeathCertificate
from shoal.errors import ActorDied, ActorUnavailable, ConfigError, ObjectLost
from shoal.interfaces.current import current
from shoal.interfaces.engine import Engine, SupportsDeviceObjects
from shoal.interfaces.refs import ObjectRef, note_transport
from shoal.interfaces.tensors import Taker, TensorTransport
from shoal.spec.calls import BESIDE, ActorInfo, MethodTemplate

FETCH_SECONDS = 600.0  # how long an actor may take to hand tensors out


@attrs.frozen(eq=False)
class _Kept:
    """The tensors of one value. `ways` has the transport of each."""

    actor_id: bytes
    tensors: list[Any]
    ways: list[TensorTransport]


class _Shelf:
    """What this process keeps, by token."""

    def __init__(self) -> None:
        # Released by whatever thread the engine likes, and read by the one that serves other processes.
        self._changed = threading.Condition()
        self._kept: dict[bytes, _Kept] = {}

    def add(self, token: bytes, kept: _Kept) -> None:
        with self._changed:
            self._kept[token] = kept

    def drop(self, token: bytes) -> None:
        with self._changed:
            kept = self._kept.pop(token, None)
            self._changed.notify_all()
        del kept  # outside of the lock: tensors may run code of their own as they go

    def find(self, token: bytes) -> _Kept | None:
        return self._kept.get(token)

    def wait_without(self, tensor: Any, timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._has(tensor), timeout)

    def _has(self, tensor: Any) -> bool:
        return any(one is tensor for kept in self._kept.values() for one in kept.tensors)

    def tensors(self) -> list[Any]:
        with self._changed:
            return [tensor for kept in self._kept.values() for tensor in kept.tensors]


_shelf = _Shelf()


def wait_tensor_freed(tensor: Any, timeout: float | None = None) -> None:
    """Wait until nobody can ask this process for a tensor any more, so that it may be changed in place.

    Raises TimeoutError after `timeout` seconds (None: no bound).
    """
    if not _shelf.wait_without(tensor, timeout):
        raise TimeoutError(f"somebody still refers to the tensor after {timeout:g} s")


def kept_tensors() -> list[Any]:
    """Return the tensors that this process keeps for others."""
    return _shelf.tensors()


class KeptValue:
    """A value whose tensors stay here. It pickles as its skeleton, and loads as the value itself."""

    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self._parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return load_kept, self._parts


def keep(value: Any, transport: str, lifetime: ObjectRef[Any] | None) -> Any:
    """Keep a value's tensors in this process and return what stands for it; the value itself if it has none.

    `lifetime` is the actor's lifetime reference: it lives as long as what it keeps. Raises ConfigError outside of an
    actor and where the transport cannot be used, NotSerializable.
    """
    from shoal.serial.apart import dump_apart

    engine = supporting(current.engine)
    actor_id, class_name = _own_actor(engine)
    transports = transports_for(transport)
    payload, tensors = dump_apart(value, lambda part: any(way.keeps(part) for way in transports))
    if not tensors:
        return value
    ways = [next(way for way in transports if way.keeps(tensor)) for tensor in tensors]
    token = engine.put(None)
    _shelf.add(token.binary(), _Kept(actor_id, tensors, ways))
    engine.when_released(token, _shelf.drop)
    buffers = [pickle.PickleBuffer(view) for view in payload.buffers]
    return KeptValue((token, actor_id, class_name, lifetime, payload.data, buffers, list(payload.refs)))


def load_kept(
    token: ObjectRef[Any],
    actor_id: bytes,
    class_name: str,
    lifetime: ObjectRef[Any] | None,
    data: bytes,
    buffers: Sequence[Any],
    refs: Sequence[ObjectRef[Any]],
) -> Any:
    """Return the value: with the tensors themselves in the actor that keeps them, with its own ones anywhere else.

    Raises ObjectLost if the actor has died or was started again.
    """
    from shoal.serial.apart import load_apart

    engine = supporting(token.engine)
    kept = _shelf.find(token.binary())
    if kept is not None and bytes(engine.context().actor_id) == kept.actor_id == actor_id:
        tensors = kept.tensors
    else:
        tensors = _fetch(engine, token, actor_id, class_name)
    return load_apart(data, [memoryview(buffer) for buffer in buffers], refs, tensors)


def _fetch(engine: Engine, token: ObjectRef[Any], actor_id: bytes, class_name: str) -> list[Any]:
    """Ask the actor for the tensors."""
    info = ActorInfo(actor_id=actor_id, class_name=class_name, methods={})
    reaches = [name for name, way in all_transports().items() if way.reaches()]
    arguments = (_offer, token.binary(), bytes(engine.context().node_id), reaches)
    ref: Any = engine.call_actor(info, BESIDE, arguments, {})
    try:
        (offered,) = engine.get([ref], FETCH_SECONDS)
    except (ActorDied, ActorUnavailable) as error:
        raise ObjectLost(
            f"the tensors of the object were kept by an actor of class {class_name}, which is gone",
            error.certificate,
        ) from None
    if offered is None:
        certificate = DeathCertificate(
            what="object",
            identity=token.hex(),
            name=class_name,
            cause=Cause.LOST,
            detail="the actor was restarted",
        )
        raise ObjectLost(
            f"the tensors of the object were kept by an actor of class {class_name}, which has been restarted since",
            certificate,
        )
    found = all_transports()
    return [found[name].take(one) for name, one in offered]


def _offer(instance: Any, token: bytes, node_id: bytes, reaches: list[str]) -> list[tuple[str, Any]] | None:
    """Hand the tensors of a token out. Runs in the actor, beside its calls."""
    kept = _shelf.find(token)
    engine = current.engine
    if kept is None or engine is None:
        return None
    taker = Taker(same_node=bytes(engine.context().node_id) == node_id, reaches=frozenset(reaches))
    return [(way.name, way.offer(tensor, taker)) for way, tensor in zip(kept.ways, kept.tensors, strict=True)]


def call_and_keep(
    instance: Any,
    name: str,
    transport: str,
    count: int,
    lifetime: list[ObjectRef[Any]],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Run a method and keep the tensors of its `count` results. This is what an actor runs for such a method."""
    held = lifetime[0] if lifetime else None
    result = getattr(instance, name)(*args, **kwargs)
    if inspect.isawaitable(result):
        return _keep_later(result, transport, count, held)
    return _keep_each(result, transport, count, held)


async def _keep_later(result: Any, transport: str, count: int, lifetime: ObjectRef[Any] | None) -> Any:
    return _keep_each(await result, transport, count, lifetime)


def _keep_each(result: Any, transport: str, count: int, lifetime: ObjectRef[Any] | None) -> Any:
    if count == 1:
        return keep(result, transport, lifetime)
    # What is no several results the engine complains about.
    return [keep(one, transport, lifetime) for one in result] if isinstance(result, Iterable) else result


def keeping_template(call: MethodTemplate, method: MethodTemplate) -> MethodTemplate:
    """Return how `call`, which runs any function, is called for a method that keeps tensors.

    Raises ConfigError for a method that streams its results.
    """
    if not isinstance(method.num_returns, int):
        raise ConfigError(
            f"method {method.name!r} has num_returns={method.num_returns!r} and tensor_transport="
            f"{method.tensor_transport!r}: tensors of a stream are not kept; leave tensor_transport out"
        )
    return attrs.evolve(
        call,
        num_returns=method.num_returns,
        max_task_retries=method.max_task_retries,
        retry_exceptions=method.retry_exceptions,
        concurrency_group=method.concurrency_group,
        display_name=method.display_name or method.name,
        prepared=None,
    )


def call_keeping(
    call: Callable[[tuple[Any, ...]], Any],
    engine: Engine,
    method: MethodTemplate,
    lifetime: ObjectRef[Any] | None,
    args: tuple[Any, ...],
) -> Any:
    """Call a method that keeps its tensors: `call` takes the arguments. Raises ConfigError on an engine without."""
    supporting(engine)
    transport = method.tensor_transport
    held = [] if lifetime is None else [lifetime]
    result = call((call_and_keep, method.name, transport, method.num_returns, held, *args))
    for ref in result if isinstance(result, list) else [result]:
        if ref is not None:
            note_transport(ref, str(transport))
    return result


def put_kept(engine: Engine, value: Any, transport: Any) -> ObjectRef[Any]:
    """Do what `put` does, with the value's tensors kept by this actor. Raises ConfigError."""
    name = require_transport(transport)
    if name == STORE:
        return engine.put(value)
    ref = engine.put(keep(value, name, None))
    note_transport(ref, name)
    return ref


def supporting(engine: Any) -> Any:
    """Return the engine if tensors can be kept on it. Raises ConfigError."""
    if not isinstance(engine, SupportsDeviceObjects):
        name = f"engine {getattr(engine, 'name', 'none')!r}"
        raise ConfigError(
            f"{name} keeps no tensors in actors; leave tensor_transport out there, and they travel like all values"
        )
    return engine


def _own_actor(engine: Engine) -> tuple[bytes, str]:
    here = engine.context()
    if not here.actor_id:
        raise ConfigError(
            "tensors are kept by actors; this is no actor, and nobody could ask it for them: leave "
            "_tensor_transport out"
        )
    return bytes(here.actor_id), here.function_name.partition(".")[0]
