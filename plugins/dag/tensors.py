"""How tensors travel in a compiled graph: through shared memory, or on one machine from CUDA device to device.

A tensor in main memory needs no help: it is written into the channel's slot as it lies. A tensor on a device is either
copied to main memory for that ("shm"), or only its place on the device is sent ("cuda_ipc"): the reader maps it and
copies it on the device, and the writer keeps it until the reader is done.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, describe

SHM, CUDA_IPC, AUTO = "shm", "cuda_ipc", "auto"
_TRANSPORTS = {
    "auto": AUTO,
    "accelerator": AUTO,
    "shm": SHM,
    "object_store": SHM,
    "cpu": SHM,
    "cuda_ipc": CUDA_IPC,
    "nccl": CUDA_IPC,
}
_DEVICES = ("default", "retain", "cpu", "cuda", "gpu")


@attrs.frozen
class TensorHint:
    """What was said of a node's tensors."""

    transport: str
    device: str = "default"


class TorchTensorType:
    """The reference's way to say how tensors travel: `node.with_type_hint(TorchTensorType(transport="shm"))`."""

    AUTO: ClassVar[str] = "auto"
    ACCELERATOR: ClassVar[str] = "accelerator"
    CPU: ClassVar[str] = "cpu"

    def __init__(
        self,
        transport: Any = "auto",
        device: Any = "default",
        _static_shape: bool = False,
        _direct_return: bool = False,
    ) -> None:
        hint = check_transport(transport, device, _static_shape, _direct_return)
        self.transport: str = hint.transport
        self._device = hint.device
        self._promises = bool(_static_shape), bool(_direct_return)

    @property
    def device(self) -> str:
        """Where readers want the tensor."""
        return self._device

    @property
    def static_shape(self) -> bool:
        """Whether the same shape was promised for each execution; nothing here relies on it."""
        return self._promises[0]

    @property
    def direct_return(self) -> bool:
        """Whether a bare tensor was promised; nothing here relies on it."""
        return self._promises[1]


class AutoTransportType(TorchTensorType):
    """A `TorchTensorType` whose transport is found by where the tensors are."""

    def __init__(
        self, device: Any = "default", _static_shape: bool = False, _direct_return: bool = False
    ) -> None:
        super().__init__(TorchTensorType.AUTO, device, _static_shape, _direct_return)


def check_transport(transport: Any, device: Any, static_shape: bool, direct_return: bool) -> TensorHint:
    """Return the hint for these words. Raises ConfigError for others.

    `static_shape` and `direct_return` promise something about the values that nothing here has to rely on.
    """
    name = getattr(transport, "value", transport)
    known = _TRANSPORTS.get(name.lower()) if isinstance(name, str) else None
    if known is None:
        raise ConfigError(
            f"a tensor's transport is {', '.join(map(repr, _TRANSPORTS))}, not {describe(transport)}"
        )
    where = str(getattr(device, "value", device)).lower()
    if where.partition(":")[0] not in _DEVICES:
        raise ConfigError(f"a tensor's device is {', '.join(map(repr, _DEVICES))}, not {describe(device)}")
    return TensorHint(known, "cuda" if where == "gpu" else where)


def check_here(hint: TensorHint) -> None:
    """Raise ConfigError in an actor that cannot do what the hint says."""
    if hint.transport == CUDA_IPC or hint.device.startswith("cuda"):
        if importlib.util.find_spec("torch") is None:
            raise ConfigError("tensors from device to device need torch: pip install 'shoal[cuda]'")
        import torch

        if not torch.cuda.is_available():
            raise ConfigError(
                "tensors from device to device need a CUDA device in each of the two actors: give them num_gpus, or "
                "use with_tensor_transport('shm')"
            )


class _OnDevice:
    """A tensor's place on a device, as it stands in a channel; loading it makes a copy on the device."""

    def __init__(self, rebuild: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.rebuild = rebuild
        self.arguments = arguments

    def load(self) -> Any:
        """Return a copy of the tensor, finished."""
        import torch

        theirs = self.rebuild(*self.arguments)
        ours = theirs.clone()
        torch.cuda.current_stream(ours.device).synchronize()  # the writer may change its tensor from now on
        return ours


class TensorSender:
    """Makes values ready for a channel. It keeps the last tensors alive whose places were sent."""

    def __init__(self, hint: TensorHint | None, slots: int, to_main_memory: bool) -> None:
        """`to_main_memory`: some reader is no actor, or on another machine, so that places on a device say nothing."""
        self._hint = hint
        self._by_place = hint is not None and hint.transport in (AUTO, CUDA_IPC) and not to_main_memory
        # Slots that are full, the one that readers work on, and the one that is written.
        self._kept: deque[list[Any]] = deque(maxlen=slots + 2)

    def prepare(self, value: Any) -> Any:
        """Return what is to be packed."""
        if self._hint is None:
            return value
        kept: list[Any] = []
        prepared = _each_tensor(value, lambda tensor: self._prepare(tensor, kept))
        if kept:
            self._kept.append(kept)
        return prepared

    def _prepare(self, tensor: Any, kept: list[Any]) -> Any:
        if tensor.device.type != "cuda":
            return tensor
        if not self._by_place:
            return tensor.detach().cpu()
        from torch.multiprocessing.reductions import reduce_tensor

        shared = tensor.detach()
        rebuild, arguments = reduce_tensor(shared)
        kept.append(shared)
        return _OnDevice(rebuild, arguments)


def receive(value: Any, hint: TensorHint | None) -> Any:
    """Return the value that came, its tensors where the hint wants them."""
    if hint is None:
        return value

    def place(tensor: Any) -> Any:
        tensor = tensor.load() if isinstance(tensor, _OnDevice) else tensor
        return tensor if hint.device in ("default", "retain") else tensor.to(hint.device)

    return _each_tensor(value, place)


def _each_tensor(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the value with each tensor in it changed: itself, or in lists, tuples and dictionaries."""
    kind = type(value)
    if kind is _OnDevice or (kind.__module__.partition(".")[0] == "torch" and hasattr(value, "data_ptr")):
        return change(value)
    if kind is list or kind is tuple:
        return kind(_each_tensor(item, change) for item in value)
    if isinstance(value, Mapping) and kind is dict:
        return {key: _each_tensor(item, change) for key, item in value.items()}
    return value
