"""How an ObjectRef stands in a pickle: as a call of `load_ref` with its index among the payload's refs.

The unpickler puts the references' own lookup in the place of `load_ref`, so loading needs no state outside itself, and
an engine decides what the references are: the live ones of this process, borrowed ones in a worker.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import IO, Any

from shoal.interfaces.refs import ObjectRef


def load_ref(index: int) -> ObjectRef[Any]:
    """Stand for reference number `index`. Raises TypeError: plain pickle cannot know the references."""
    raise TypeError(
        f"this pickle holds ObjectRefs (number {index}); load it with shoal.serial.loads and its refs"
    )


class RefUnpickler(pickle.Unpickler):
    """Loads a pickle whose references are given."""

    def __init__(
        self, file: IO[bytes], buffers: Sequence[memoryview], refs: Sequence[ObjectRef[Any]]
    ) -> None:
        super().__init__(file, buffers=buffers)
        self._refs = refs

    def find_class(self, module: str, name: str) -> Any:
        if name == "load_ref" and module == __name__:
            return self._refs.__getitem__
        return super().find_class(module, name)
