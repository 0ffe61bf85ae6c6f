"""CudaMemory: tensors on CUDA devices, which another process of the machine copies from device to device."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, ClassVar

from shoal.accelerators.main_memory import is_torch_tensor
from shoal.errors import ConfigError
from shoal.interfaces.tensors import Taker, TensorTransport


class OnDevice:
    """A tensor's place on a device of this machine. The maker keeps it until `take` is done."""

    __slots__ = ("arguments", "rebuild")

    def __init__(self, rebuild: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.rebuild = rebuild
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return OnDevice, (self.rebuild, self.arguments)


class CudaMemory(TensorTransport):
    """Torch tensors on CUDA devices. On one machine their place is sent (CUDA IPC) and the taker copies from device to
    device; to another machine, and to a process without a device, they go by way of main memory.
    """

    name: ClassVar[str] = "cuda_ipc"
    also: ClassVar[tuple[str, ...]] = ("nccl", "cuda")
    __slots__ = ()

    def check(self) -> None:
        if not self.reaches():
            raise ConfigError(
                "tensor_transport='cuda_ipc' keeps tensors on a CUDA device, and this process sees none: it needs "
                "torch with CUDA and num_gpus of the actor; 'shm' keeps tensors in main memory"
            )

    def keeps(self, value: Any) -> bool:
        return is_torch_tensor(type(value)) and value.device.type == "cuda"

    def reaches(self) -> bool:
        if importlib.util.find_spec("torch") is None:
            return False
        import torch

        return bool(torch.cuda.is_available())

    def offer(self, tensor: Any, taker: Taker) -> Any:
        import torch

        shared = tensor.detach()
        # Whatever stream fills it: the other process cannot wait for ours.
        torch.cuda.synchronize(shared.device)
        if not taker.same_node or self.name not in taker.reaches:
            return shared.cpu()
        from torch.multiprocessing.reductions import reduce_tensor

        return OnDevice(*reduce_tensor(shared))

    def take(self, offered: Any) -> Any:
        import torch

        if isinstance(offered, OnDevice):
            theirs = offered.rebuild(*offered.arguments)
            ours = theirs.clone()
            torch.cuda.current_stream(ours.device).synchronize()  # the maker may free its tensor from now on
            return ours
        return offered.cuda() if torch.cuda.is_available() else offered
