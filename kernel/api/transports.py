"""The transports of tensors that the installed accelerators offer, by name."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.interfaces.tensors import TensorTransport

STORE = "object_store"  # tensors travel as all values do
ANY = "auto"  # each tensor by the first transport that keeps it
_ALSO_ANY = ("nixl",)


@functools.cache
def all_transports() -> Mapping[str, TensorTransport]:
    """Return every transport by its own name. Accelerators that cannot be loaded offer none."""
    from shoal.registry.drivers import load_all
    from shoal.registry.groups import ACCELERATORS

    working, _ = load_all(ACCELERATORS)
    found: dict[str, TensorTransport] = {}
    for name in sorted(
        working, key=lambda each: (each == "cpu", each)
    ):  # main memory last: it is the way of last resort
        for transport in working[name]().tensor_transports():
            found.setdefault(transport.name, transport)
    return found


def check_transport(given: Any) -> str | None:
    """Return a transport's own name, ANY or STORE, for any of its names. None for what names none."""
    if not isinstance(given, str):
        return None
    name = given.lower()
    if name == STORE:
        return STORE
    if name == ANY or name in _ALSO_ANY:
        return ANY
    for transport in all_transports().values():
        if name == transport.name or name in transport.also:
            return transport.name
    return None


def require_transport(given: Any) -> str:
    """Do as `check_transport`. Raises ConfigError for what names no transport."""
    name = check_transport(given)
    if name is None:
        raise ConfigError(f"tensor_transport must be {allowed_names()}, not {describe(given)}")
    return name


def allowed_names() -> str:
    """Return what `tensor_transport` may be, for errors."""
    names = [
        f"{transport.name!r}" + (f" (also {', '.join(map(repr, transport.also))})" if transport.also else "")
        for transport in all_transports().values()
    ]
    return f"{STORE!r}, {ANY!r} (also {', '.join(map(repr, _ALSO_ANY))}), {', '.join(names)}"


def transports_for(name: str) -> tuple[TensorTransport, ...]:
    """Return the transports that a checked name stands for. Raises ConfigError where one cannot keep tensors here."""
    found = all_transports()
    if name == ANY:
        return tuple(transport for transport in found.values() if transport.reaches())
    if name not in found:
        raise ConfigError(
            f"tensor_transport={name!r} is not installed here; there are: {', '.join(sorted(found))}. Install the same "
            "accelerator plugins wherever actors run"
        )
    found[name].check()
    return (found[name],)
