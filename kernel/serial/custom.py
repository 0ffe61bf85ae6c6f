"""Serializers that a program registers for its classes, in this process."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any

# Types that pickle writes without asking anybody.
NEVER_ASKED = frozenset(
    {NoneType, bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset, type}
)

_custom: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {}


def register(cls: type, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """From now on values of exactly this class are pickled as `deserializer(serializer(value))`."""
    _custom[cls] = (serializer, deserializer)


def deregister(cls: type) -> None:
    """Forget it again."""
    _custom.pop(cls, None)


def is_registered(cls: type) -> bool:
    """Tell whether the class has a serializer."""
    return cls in _custom


def reduce_custom(value: Any) -> Any:
    """Return how to pickle a value of a registered class; NotImplemented for others."""
    found = _custom.get(type(value))
    if found is None:
        return NotImplemented
    serializer, deserializer = found
    return deserializer, (serializer(value),)
