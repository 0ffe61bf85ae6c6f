"""MainMemory: tensors and arrays in main memory, which travel through the object store when another process asks."""

from __future__ import annotations

from typing import Any, ClassVar

from shoal.interfaces.tensors import Taker, TensorTransport


class MainMemory(TensorTransport):
    """Torch tensors on the CPU and numpy arrays. On one machine they cross in shared memory, written once.

    An array arrives as a read-only view; a torch tensor as a copy of its own, since torch knows no read-only memory.
    """

    name: ClassVar[str] = "shm"
    also: ClassVar[tuple[str, ...]] = ("gloo", "cpu")
    __slots__ = ()

    def check(self) -> None:
        """Main memory is everywhere."""

    def keeps(self, value: Any) -> bool:
        kind = type(value)
        if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
            return not value.dtype.hasobject
        return is_torch_tensor(kind) and value.device.type == "cpu"

    def reaches(self) -> bool:
        return True

    def offer(self, tensor: Any, taker: Taker) -> Any:
        return tensor.detach() if is_torch_tensor(type(tensor)) else tensor

    def take(self, offered: Any) -> Any:
        return offered


def is_torch_tensor(kind: type) -> bool:
    """Tell whether values of a class are torch tensors, without importing torch: then there are none."""
    # Parameters too, and subclasses of third parties.
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in kind.__mro__)
