"""Values that need help to travel: serializers of a program's own, and why a value cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

import attrs

from shoal.errors import NotSerializable, describe

T = TypeVar("T")


def register_serializer(
    cls: type[T], *, serializer: Callable[[T], Any], deserializer: Callable[[Any], T]
) -> None:
    """Let values of a class travel as what `serializer(value)` returns; `deserializer` makes them again.

    It holds for this process: a task or actor that sends values of the class back registers it as well. The receiver
    needs nothing, since the deserializer travels with the value. Values of subclasses are not meant. A second call for
    a class replaces the first.
    Raises TypeError for what is no class or cannot be called, ValueError for a class that never asks: numbers, text,
    bytes, lists, tuples, dicts and None.

    Example:
        shoal.register_serializer(Handle, serializer=lambda handle: handle.path, deserializer=Handle)
    """
    from shoal.serial.custom import NEVER_ASKED, register

    if not isinstance(cls, type):
        raise TypeError(f"a serializer is for a class, not {describe(cls)}")
    for name, given in (("serializer", serializer), ("deserializer", deserializer)):
        if not callable(given):
            raise TypeError(f"{name} must be a function, not {describe(given)}")
    if cls in NEVER_ASKED:
        raise ValueError(f"values of {cls.__name__} travel as they are; make a class of your own for others")
    register(cls, serializer, deserializer)


def deregister_serializer(cls: type) -> None:
    """Undo `register_serializer` in this process. A class that has none stays as it is."""
    from shoal.serial.custom import deregister

    deregister(cls)


@attrs.frozen(eq=False)
class FailureTuple:
    """One part of a value that cannot travel: the part, how to get to it, and what holds it."""

    obj: Any
    path: tuple[str, ...]
    parent: Any


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Find out whether a value can be an argument or a result, and print what stands in the way if not.

    Parameters: `name` is what the report calls the value, `depth` how many steps down it looks at most, `print_file`
    where the report goes instead of standard output. Returns whether it can, and the parts at fault.

    Example: `shoal.inspect_serializability(my_function, name="my_function")`
    """
    if type(depth) is not int or depth < 1:
        raise ValueError(f"depth must be a whole number ≥ 1, not {describe(depth)}")
    from shoal.serial import dumps
    from shoal.serial.failure import culprits

    what = name or getattr(base_obj, "__qualname__", None) or describe(base_obj)
    out = sys.stdout if print_file is None else print_file
    try:
        dumps(base_obj, what=what)
    except NotSerializable as error:
        out.write(f"{what} cannot be pickled.\n{error}\n")
    else:
        out.write(f"{what} can be pickled.\n")
        return True, set()
    found = {FailureTuple(part, (what, *steps), parent) for steps, part, parent in culprits(base_obj, depth)}
    for failure in sorted(found, key=lambda one: one.path):
        out.write(f"  {' → '.join(failure.path)}: {describe(failure.obj)}\n")
    return False, found
