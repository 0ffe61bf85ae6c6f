"""Tensors that stay in the actor that made them: what the option `tensor_transport` of methods keeps there.

    @shoal.method(tensor_transport="shm")
    def step(self): ...               # the arrays of the result stay; whoever needs them asks for them

docs/device_objects.md tells the whole of it.
"""

from __future__ import annotations

from shoal.api.kept import kept_tensors, wait_tensor_freed
from shoal.interfaces.tensors import Taker, TensorTransport

__all__ = ["Taker", "TensorTransport", "kept_tensors", "wait_tensor_freed"]
