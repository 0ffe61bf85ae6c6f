"""Values whose tensors are pickled apart: the pickle has numbers in their places, and loads with any for them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import IO, Any

from shoal.interfaces.refs import ObjectRef
from shoal.serial.payload import Payload
from shoal.serial.pickler import ValuePickler
from shoal.serial.references import RefUnpickler


def load_tensor_apart(index: int) -> Any:
    """Stand for tensor number `index`. Raises TypeError: plain pickle cannot know the tensors."""
    raise TypeError(f"this pickle has tensors apart (number {index}); load it with load_apart")


class _ApartPickler(ValuePickler):
    def __init__(
        self,
        file: io.BytesIO,
        refs: list[ObjectRef[Any]],
        buffer_callback: Callable[[pickle.PickleBuffer], Any],
        keeps: Callable[[Any], bool],
    ) -> None:
        super().__init__(file, refs, buffer_callback)
        self._keeps = keeps
        self._numbers: dict[int, int] = {}
        self.tensors: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        if not self._keeps(obj):
            return super().reducer_override(obj)
        number = self._numbers.get(id(obj))
        if number is None:
            number = self._numbers[id(obj)] = len(self.tensors)
            self.tensors.append(obj)
        return load_tensor_apart, (number,)


class _ApartUnpickler(RefUnpickler):
    def __init__(
        self,
        file: IO[bytes],
        buffers: Sequence[memoryview],
        refs: Sequence[ObjectRef[Any]],
        tensors: Sequence[Any],
    ) -> None:
        super().__init__(file, buffers, refs)
        self._tensors = tensors

    def find_class(self, module: str, name: str) -> Any:
        if name == "load_tensor_apart" and module == __name__:
            return self._tensors.__getitem__
        return super().find_class(module, name)


def dump_apart(value: Any, keeps: Callable[[Any], bool]) -> tuple[Payload, list[Any]]:
    """Pickle a value without the parts for which `keeps` is true; return the payload and these parts, each once.

    Parts that pickle never asks about (numbers, text, plain containers) are not asked for either.
    Raises what pickling raises.

    Example: `payload, tensors = dump_apart({"weights": array}, lambda part: isinstance(part, numpy.ndarray))`
    """
    file = io.BytesIO()
    buffers: list[memoryview] = []
    refs: list[ObjectRef[Any]] = []
    pickler = _ApartPickler(file, refs, lambda buffer: buffers.append(buffer.raw()), keeps)
    pickler.dump(value)
    return Payload(file.getvalue(), buffers, refs), pickler.tensors


def load_apart(
    data: bytes | memoryview,
    buffers: Sequence[memoryview],
    refs: Sequence[ObjectRef[Any]],
    tensors: Sequence[Any],
) -> Any:
    """Return the value that `dump_apart` pickled, with these tensors in their places. Raises what unpickling raises."""
    return _ApartUnpickler(io.BytesIO(data), buffers, refs, tensors).load()
