"""put, get, wait, cancel and free."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, overload

from shoal.api.checked import CheckedList
from shoal.api.kept import put_kept
from shoal.api.session import ended, engine_or_start, sessions_started
from shoal.errors import describe
from shoal.interfaces.current import current
from shoal.interfaces.engine import Engine
from shoal.interfaces.graphs import DeferredValue
from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator

R = TypeVar("R")

_REF = frozenset({ObjectRef})
_engine_of = attrgetter("engine")
_WORTH_REMEMBERING = 32  # references left, from which on the next wait() is spared looking at each
_id_of = attrgetter("_id")  # hashing identifiers costs a third of hashing references


@overload
def get(object_refs: ObjectRef[R], *, timeout: float | None = None) -> R: ...
@overload
def get(object_refs: Sequence[ObjectRef[R]], *, timeout: float | None = None) -> list[R]: ...
@overload
def get(object_refs: DeferredValue | Sequence[DeferredValue], *, timeout: float | None = None) -> Any: ...
@overload
def get(object_refs: ObjectRefGenerator[R], *, timeout: float | None = None) -> ObjectRefGenerator[R]: ...
def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """Return the value of a reference, or the list of values of a list or tuple of references.

    Waits until all are there, at most `timeout` seconds (0: not at all). Arrays come as read-only views of shared
    memory where they can.

    Raises the first error in order: what the task raised (as an instance of its own class and of TaskError),
    GetTimeout, TaskCancelled, ActorDied, ObjectLost and the like. TypeError for what is no reference, NotInitialized
    for a reference of a session that has ended, RuntimeError where waiting would stop an async actor's event loop.

    Example: `shoal.get([f.remote(1), f.remote(2)], timeout=10)`
    """
    if type(object_refs) is ObjectRef:
        engine = object_refs.engine
        if engine is not current.engine:
            _check_engine([object_refs])
        if timeout != 0 and "asyncio" in sys.modules:
            _refuse_in_event_loop(engine, "get")
        return engine.get((object_refs,), timeout if timeout is None else _seconds(timeout))[0]
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    if isinstance(object_refs, DeferredValue):
        return object_refs.get(timeout if timeout is None else _seconds(timeout))
    if isinstance(object_refs, (list, tuple)) and any(isinstance(ref, DeferredValue) for ref in object_refs):
        return _get_deferred(object_refs, timeout)
    _check_refs(object_refs, "get")
    engine = engine_or_start()
    if not object_refs:
        return []
    _check_engine(object_refs)
    if timeout != 0:
        _refuse_in_event_loop(engine, "get")
    return engine.get(object_refs, timeout if timeout is None else _seconds(timeout))


def _get_deferred(refs: Sequence[Any], timeout: float | None) -> list[Any]:
    """Get references of libraries one after the other, with one bound for all."""
    end = None if timeout is None else time.monotonic() + _seconds(timeout)
    return [get(ref, timeout=None if end is None else max(end - time.monotonic(), 0.0)) for ref in refs]


def put(value: R, *, _tensor_transport: str | None = None) -> ObjectRef[R]:
    """Store a value once, so that any number of tasks can use it, and return its reference.

    `_tensor_transport`, in an actor: the value's tensors stay in this process and are handed out to who asks, by the
    transport with that name (see the option `tensor_transport` of methods).

    Raises TypeError for a value that is a reference already, NotSerializable, ObjectStoreFull and OutOfDisk.

    Example: `big = shoal.put(array); refs = [f.remote(big, i) for i in range(100)]`
    """
    if isinstance(value, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(
            f"put() was given {describe(value)}, which names a value that is stored already; pass it on as it is, or "
            "put() it inside a list to store the reference itself"
        )
    engine = current.engine
    if engine is None:
        engine = engine_or_start()
    if _tensor_transport is not None:
        return put_kept(engine, value, _tensor_transport)
    return engine.put(value)


def wait(
    object_refs: Sequence[ObjectRef[R]],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[ObjectRef[R]], list[ObjectRef[R]]]:
    """Return (ready, not ready) as soon as `num_returns` references are ready or `timeout` seconds are over.

    Both lists are in the order of `object_refs`, and `ready` has at most `num_returns`. A task that failed is ready.
    `fetch_local=False` lets a value be ready while it is on another node.
    Raises TypeError for anything but a list or tuple of references, ValueError for an empty or repeated one and for
    `num_returns` out of range.

    Example: `ready, rest = shoal.wait(refs, num_returns=2, timeout=5)`
    """
    if isinstance(object_refs, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"wait() takes a list of references; write wait([{describe(object_refs)}])")
    if not (type(object_refs) is CheckedList and object_refs.checked):
        _check_distinct(object_refs)
    count = len(object_refs)
    if not count:
        raise ValueError("wait() needs at least one reference")
    if type(num_returns) is not int or not 1 <= num_returns <= count:
        raise ValueError(
            f"num_returns must be a whole number from 1 to {count}, the number of references, "
            f"not {describe(num_returns)}"
        )
    engine = engine_or_start()
    if sessions_started() > 1:
        _check_engine(object_refs)
    if timeout != 0:
        _refuse_in_event_loop(engine, "wait")
    ready, rest = engine.wait(
        object_refs, num_returns, timeout if timeout is None else _seconds(timeout), fetch_local
    )
    return ready, CheckedList(rest) if len(rest) >= _WORTH_REMEMBERING else rest


def cancel(
    ref: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel the task that makes `ref`; getting it then raises TaskCancelled, unless it finished first.

    A waiting task never starts; a running one gets KeyboardInterrupt (an async method: CancelledError). `force` ends
    the worker process instead, `recursive` cancels what the task submitted as well.
    Raises TypeError for a reference made by put(), ValueError for `force` on an actor's call.

    Example: `shoal.cancel(ref)`
    """
    if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"cancel() takes the reference that a call returned, not {describe(ref)}")
    engine = engine_or_start()
    if ref.engine is not engine:
        ended(repr(ref))
    engine.cancel(ref, force, recursive)


def free(object_refs: ObjectRef[Any] | Sequence[ObjectRef[Any]]) -> None:
    """Delete values now, whoever still refers to them: getting one raises ObjectFreed from then on.

    Values are deleted by themselves when their last reference goes; this is for whoever cannot wait for that.
    """
    refs = [object_refs] if isinstance(object_refs, ObjectRef) else object_refs
    _check_refs(refs, "free")
    engine = engine_or_start()
    _check_engine(refs)
    engine.free(refs)


def _seconds(timeout: Any) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {describe(timeout)}")
    if timeout < 0 or timeout != timeout:
        raise ValueError(f"timeout must be ≥ 0 seconds or None for no limit, not {timeout}")
    return timeout


def _check_distinct(refs: Any) -> None:
    try:
        identifiers = set(map(_id_of, refs))
    except (AttributeError, TypeError):
        identifiers = set()
        _check_refs(refs, "wait")
    if not isinstance(refs, (list, tuple)):
        _check_refs(refs, "wait")
    if len(identifiers) != len(refs):
        seen: set[ObjectRef[Any]] = set()
        double = next(ref for ref in refs if ref in seen or seen.add(ref))  # type: ignore[func-returns-value]
        raise ValueError(f"wait() needs references that differ; {double!r} was given twice")


def _check_refs(refs: Any, call: str) -> None:
    if not isinstance(refs, (list, tuple)):
        _complain(refs, call, "")
    if not _REF.issuperset(map(type, refs)):
        index, wrong = next((i, item) for i, item in enumerate(refs) if type(item) is not ObjectRef)
        _complain(wrong, call, f"item {index} of the list: ")


def _complain(wrong: Any, call: str, where: str) -> NoReturn:
    kind = type(wrong).__name__
    if isinstance(wrong, ObjectRefGenerator):
        raise TypeError(f"{where}{call}() takes ObjectRefs, not a generator of them; iterate over it first")
    if isinstance(wrong, (list, tuple)) and where:
        raise TypeError(f"{where}{call}() takes a flat list of ObjectRefs, not a {kind} inside a list")
    raise TypeError(
        f"{where}{call}() takes an ObjectRef or a list of ObjectRefs, not {describe(wrong)} of type {kind}. "
        "If it came as an argument of a task, it was already resolved: an ObjectRef that is itself an argument "
        "arrives as its value (inside a list it stays a reference)."
    )


def _check_engine(refs: Sequence[ObjectRef[Any]]) -> None:
    here = current.engine
    if {here}.issuperset(map(_engine_of, refs)):
        return
    stranger = next(ref for ref in refs if ref.engine is not here)
    ended(repr(stranger))


def _refuse_in_event_loop(engine: Engine, call: str) -> None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return
    where = engine.context()
    if where.actor_id and not where.is_driver:
        cure = "`await ref`" if call == "get" else "`await asyncio.wait(...)` on the references"
        raise RuntimeError(
            f"{call}() inside an async actor would stop its event loop, and with it every other call of the actor; "
            f"use {cure} instead"
        )
