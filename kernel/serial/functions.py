"""Functions and classes as bytes, named by their content so that each travels once."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from shoal.errors import NotSerializable
from shoal.interfaces.refs import ObjectRef
from shoal.serial.pickling import loads


def dump_function(function: Any, refs: list[ObjectRef[Any]] | None = None) -> bytes:
    """Pickle a function or class, by reference if its module can be imported elsewhere, else by value.

    `refs` receives the ObjectRefs that it captures (actor handles hold one); give them to `load_function`.
    Raises NotSerializable naming the captured variable, also if references are captured and `refs` is None.
    """
    from shoal.serial.pickler import ValuePickler

    found: list[ObjectRef[Any]] = [] if refs is None else refs
    before = len(found)
    file = io.BytesIO()
    name = getattr(function, "__qualname__", repr(function))
    try:
        ValuePickler(file, found).dump(function)
    except Exception as error:  # a captured object's __reduce__ may raise anything
        del found[before:]
        from shoal.serial.failure import explain

        raise NotSerializable(explain(function, name, error)) from error
    if refs is None and found:
        raise NotSerializable(f"{name} captures {found[0]!r}; pass it as an argument")
    return file.getvalue()


def load_function(
    data: bytes | memoryview, refs: list[ObjectRef[Any]] | tuple[ObjectRef[Any], ...] = ()
) -> Any:
    """Return the function or class that `dump_function` pickled."""
    return loads(data, (), refs)


def function_hash(data: bytes) -> bytes:
    """Return the 16 bytes that name a dumped function."""
    return hashlib.blake2b(data, digest_size=16).digest()
