"""What an actor of a compiled graph has to do in each execution, as plain data that is sent to it once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from shoal.dag.failures import GraphError
from shoal.dag.node import DAGInputData
from shoal.dag.tensors import TensorHint
from shoal.errors import describe

WHOLE = None  # the part of the input that is all of it


@attrs.frozen
class Source:
    """Stands in an argument for the value in a slot; of the graph's input, for a part of it."""

    slot: int


@attrs.frozen
class InputPart:
    """Stands in an argument for a part of the graph's input: a position, a name, or WHOLE."""

    slot: int
    key: int | str | None


@attrs.frozen(kw_only=True)
class Inlet:
    """A channel that an actor reads: its file, which reader it is there, and the slot that its value goes into."""

    path: str
    index: int
    slot: int
    hint: TensorHint | None = None


@attrs.frozen(kw_only=True)
class Outlet:
    """Where a value goes: the file of a channel on this node, and the relays of channels on others."""

    path: str | None
    relays: Sequence[Any] = ()
    slots: int = 1
    size: int = 0
    hint: TensorHint | None = None
    to_main_memory: bool = False


@attrs.frozen(kw_only=True)
class Step:
    """One call, or one value picked out of an earlier call's (`pick`)."""

    name: str  # for errors: Class.method
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    slot: int  # where its value goes
    reads: tuple[int, ...] = ()  # inlets that are read for the first time here
    needs: tuple[int, ...] = ()  # slots whose errors are its own
    outlet: Outlet | None = None
    pick: int | None = None
    returns: int = 1


@attrs.frozen(kw_only=True)
class ActorPlan:
    """All that one actor has to do."""

    graph: str
    slots: int
    inlets: tuple[Inlet, ...]
    steps: tuple[Step, ...]
    overlap: bool


class Failed:
    """In a slot: the error of this execution, packed."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        self.packed = packed


def part_of_input(given: tuple[tuple[Any, ...], dict[str, Any]], key: int | str | None) -> Any:
    """Return what a node sees of an execution's arguments. Raises GraphError naming what was given."""
    args, kwargs = given
    only = len(args) == 1 and not kwargs
    if key is WHOLE:
        return args[0] if only else DAGInputData(*args, **kwargs)
    if isinstance(key, int):
        if -len(args) <= key < len(args):
            return args[key]
    elif key in kwargs:
        return kwargs[key]
    elif only:
        # The reference takes both for a part of the only argument.
        try:
            return args[0][key]
        except (TypeError, KeyError, IndexError):
            if hasattr(args[0], key):
                return getattr(args[0], key)
    raise GraphError(
        f"the graph uses input {key!r}; execute() was given {len(args)} by position "
        f"({', '.join(describe(arg, 30) for arg in args)}) and {', '.join(kwargs) or 'none'} by name"
    )


def fill(template: Any, values: Sequence[Any]) -> Any:
    """Return an argument with the values of this execution in it."""
    kind = type(template)
    if kind is Source:
        return values[template.slot]
    if kind is InputPart:
        return part_of_input(values[template.slot], template.key)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return kind([fill(item, values) for item in template])
    if kind is dict:
        return {key: fill(item, values) for key, item in template.items()}
    if isinstance(template, tuple) and hasattr(template, "_fields"):
        return kind(*[fill(item, values) for item in template])
    return template
