"""Pickling: plain data through the C pickler at once, everything else through cloudpickle."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

from shoal.errors import NotSerializable
from shoal.interfaces.refs import ObjectRef
from shoal.serial.custom import is_registered
from shoal.serial.payload import Payload
from shoal.serial.references import RefUnpickler

PROTOCOL = 5
LARGE = 65_536  # bytes: from here on a bytes object travels as a buffer instead of inside the pickle

# Types that mean the same in every process, hold no reference, and that the C pickler never asks Python about.
_ATOMS = frozenset({NoneType, bool, int, float, complex, str, bytes})
_FEW = 64  # items that are worth a look; a longer container amortises the full pickler
_DEPTH = 3


class _LargeBytes:
    """Pickles as bytes or bytearray that are made from an out-of-band buffer."""

    __slots__ = ("value",)

    def __init__(self, value: bytes | bytearray) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self.value), (pickle.PickleBuffer(self.value),)


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is tuple or kind is list:
        items = value
    elif kind is dict:
        if not _ATOMS.issuperset(map(type, value)):
            return False
        items = value.values()
    else:
        return kind in _ATOMS
    if _ATOMS.issuperset(map(type, items)):
        return True
    return depth > 0 and len(items) <= _FEW and all(_is_plain(item, depth - 1) for item in items)


def dumps(value: Any, refs: list[ObjectRef[Any]] | None = None, what: str = "the value") -> Payload:
    """Pickle a value.

    Parameters: `refs` is the list to which every ObjectRef found inside is appended once (several calls may share one
    list; pass the whole of it to `loads`); `what` names the value in errors.
    Raises NotSerializable, with the path to the part that cannot be pickled.

    Example: `loads(*unpack(pack_bytes(dumps([1, 2]))))` gives `[1, 2]`.
    """
    kind = type(value)
    if (kind is bytes or kind is bytearray) and len(value) >= LARGE:
        return _dump_buffers(_LargeBytes(value))
    if kind in _ATOMS or _is_plain(value, _DEPTH):
        try:
            return Payload(pickle.dumps(value, PROTOCOL))
        except Exception as error:  # an integer too long, a container that another thread changes
            raise _not_serializable(value, what, error) from error
    if (
        kind.__name__ == "ndarray"
        and kind.__module__ == "numpy"
        and _is_flat(value)
        and not is_registered(kind)
    ):
        return _dump_buffers(value)
    found: list[ObjectRef[Any]] = [] if refs is None else refs
    try:
        from shoal.serial.pickler import dump_with_cloudpickle

        return dump_with_cloudpickle(value, found)
    except Exception as error:  # a stranger's __reduce__ may raise anything
        raise _not_serializable(value, what, error) from error


def dump_call(
    function: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    refs: list[ObjectRef[Any]] | None = None,
) -> Payload:
    """Pickle `(args, kwargs)` of a call; an error names the parameter that the bad argument is for.

    `function` (a method: the function in its class) is only looked at to find that name.
    Raises NotSerializable.
    """
    kept = None if refs is None else len(refs)
    try:
        return dumps((args, kwargs), refs)
    except NotSerializable as error:
        if refs is not None:
            del refs[kept:]
        from shoal.serial.failure import blame_argument

        raise NotSerializable(blame_argument(function, name, args, kwargs, error)) from error.__cause__


def _is_flat(array: Any) -> bool:
    """Tell whether numpy hands the array's memory over as it is."""
    flags = array.flags
    return not array.dtype.hasobject and bool(flags.c_contiguous or flags.f_contiguous)


def _dump_buffers(value: Any) -> Payload:
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> None:
        buffers.append(buffer.raw())

    return Payload(pickle.dumps(value, PROTOCOL, buffer_callback=keep), buffers)


def _not_serializable(value: Any, what: str, error: Exception) -> NotSerializable:
    from shoal.serial.failure import explain

    return NotSerializable(explain(value, what, error))


def loads(
    data: bytes | memoryview, buffers: Sequence[memoryview] = (), refs: Sequence[ObjectRef[Any]] = ()
) -> Any:
    """Return the value that `dumps` pickled, with live references in the places of those it held.

    Raises what unpickling raises: ModuleNotFoundError and AttributeError where a module or class is missing here.
    """
    if refs:
        return RefUnpickler(io.BytesIO(data), buffers, refs).load()
    if buffers:
        return pickle.loads(data, buffers=buffers)
    return pickle.loads(data)
