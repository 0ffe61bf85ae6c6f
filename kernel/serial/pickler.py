"""The full pickler: cloudpickle, with references, arrays without copies and types that need help.

A module of its own because importing cloudpickle takes longer than importing all the rest of the API.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle

from shoal.interfaces.refs import ObjectRef
from shoal.serial.custom import reduce_custom
from shoal.serial.dual import reduce_in_parts
from shoal.serial.payload import Payload
from shoal.serial.references import load_ref

PROTOCOL = 5


class ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by reference what can be imported, by value what lives in `__main__` or a function.

    `refs` receives each ObjectRef once. Every process must see the same bytes for it, so all that stands in the
    pickle is the reference's index in that list.
    """

    def __init__(
        self,
        file: io.BytesIO,
        refs: list[ObjectRef[Any]],
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    ) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._refs = refs
        self._index: dict[bytes, int] | None = None

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is ObjectRef:
            return load_ref, (self._index_of(obj),)
        reduced = reduce_custom(obj)
        if reduced is not NotImplemented:
            return reduced
        help_for = _HELP.get((kind.__module__, kind.__qualname__))
        if help_for is not None:
            reduced = help_for(obj)
            if reduced is not NotImplemented:
                return reduced
        return super().reducer_override(obj)

    def _index_of(self, ref: ObjectRef[Any]) -> int:
        if self._index is None:
            self._index = {known.binary(): index for index, known in enumerate(self._refs)}
        index = self._index.get(ref.binary())
        if index is None:
            index = self._index[ref.binary()] = len(self._refs)
            self._refs.append(ref)
        return index


class ErrorPickler(ValuePickler):
    """Takes every exception apart, nested ones too, so that loading calls no user constructor."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, BaseException):
            return reduce_in_parts(obj)
        return super().reducer_override(obj)


def dump_with_cloudpickle(value: Any, refs: list[ObjectRef[Any]]) -> Payload:
    """Pickle anything. On failure `refs` is as it was; raises what the pickler raises."""
    file = io.BytesIO()
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> None:
        buffers.append(buffer.raw())

    before = len(refs)
    try:
        ValuePickler(file, refs, keep).dump(value)
    except BaseException:
        del refs[before:]
        raise
    return Payload(file.getvalue(), buffers, refs)


def _reduce_array(array: Any) -> Any:
    """Lay a strided array out flat, so that it too travels as a buffer and comes back read-only."""
    flags = array.flags
    if flags.c_contiguous or flags.f_contiguous or array.dtype.hasobject:
        return NotImplemented
    return array.copy(order="C").__reduce_ex__(PROTOCOL)


def _reduce_tensor(tensor: Any) -> Any:
    from shoal.serial.tensor import reduce_tensor

    return reduce_tensor(tensor)


def _reduce_state(state: Any) -> Any:
    """Starlette's State answers every attribute from `_state`, which does not exist yet while pickle restores it."""
    return _make_state, (type(state).__module__, dict(state._state))


def _make_state(module: str, values: dict[str, Any]) -> Any:
    import importlib

    return importlib.import_module(module).State(values)


# By name, since looking a type up must not import its library.
_HELP: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("numpy", "ndarray"): _reduce_array,
    ("starlette.datastructures", "State"): _reduce_state,
    ("torch", "Tensor"): _reduce_tensor,
}
