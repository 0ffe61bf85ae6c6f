"""The state of an actor's instance as bytes, and back: its attributes, or what its `checkpoint` returns."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

from shoal.errors import NotSerializable, StateNotSaved
from shoal.serial.payload import Bytes, Payload, unpack
from shoal.serial.pickling import dumps, loads


def capture_state(instance: Any, by_methods: bool) -> Payload:
    """Pickle what an instance is to come back with. Its buffers are views of the instance's own memory.

    Raises StateNotSaved for what cannot be pickled, or would not outlive the process: references to objects, and
    handles that keep an actor alive.

    Example: `restore_state(Counter, Counter, pack_bytes(capture_state(counter, False)), False)` is its copy.
    """
    name = type(instance).__qualname__.rpartition("<locals>.")[2]
    try:
        value = instance.checkpoint() if by_methods else _attributes(instance, name)
        payload = dumps(value)
    except StateNotSaved:
        raise
    except NotSerializable as error:
        why = str(error).rstrip(".")
        raise StateNotSaved(f"the state of actor {name} cannot be pickled: {why}. {_CURE}") from error
    except Exception as error:  # checkpoint() and __getstate__() are user code
        what = "checkpoint()" if by_methods else "__getstate__()"
        raise StateNotSaved(f"{what} of actor {name} raised {type(error).__name__}: {error}") from error
    if payload.refs:
        raise StateNotSaved(
            f"the state of actor {name} holds {len(payload.refs)} ObjectRef(s), or handles that keep an actor alive: "
            "they end with the processes that own them, so that they cannot be kept. Keep values, or the names of "
            f"detached actors. {_CURE}"
        )
    return payload


_CURE = "Leave it out with __getstate__(), or say what is kept by checkpoint() and restore(value)"


def _attributes(instance: Any, name: str) -> Any:
    reduced = instance.__reduce_ex__(4)
    if isinstance(reduced, str) or reduced[0] not in (copyreg.__newobj__, copyreg.__newobj_ex__):  # type: ignore[attr-defined]
        raise StateNotSaved(
            f"actor {name} says by __reduce__ how it is pickled, so that its attributes are not all of it; give it "
            "checkpoint() and restore(value)"
        )
    if any(part is not None for part in reduced[3:]):
        raise StateNotSaved(
            f"actor {name} is a container, and its attributes are not all of it; give it checkpoint() and "
            "restore(value)"
        )
    return reduced[2]


def restore_state(cls: Any, make: Callable[[], Any], packed: Bytes, by_methods: bool) -> Any:
    """Return an instance with a state that was captured and packed.

    With `by_methods` it is made anew by `make` and told by its `restore`; else it gets its attributes, and `__init__`
    does not run. Raises what the class's own methods raise, and what unpickling raises.
    """
    value = loads(*unpack(packed), ())
    if by_methods:
        instance = make()
        instance.restore(value)
        return instance
    instance = cls.__new__(cls)
    if hasattr(instance, "__setstate__"):
        if value is not None:
            instance.__setstate__(value)
        return instance
    attributes, slots = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    if attributes:
        instance.__dict__.update(attributes)
    for name, one in (slots or {}).items():
        setattr(instance, name, one)
    return instance
