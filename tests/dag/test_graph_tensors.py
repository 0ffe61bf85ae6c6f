"""Tensors in compiled graphs: through shared memory, and from device to device."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import shoal
from shoal.dag import InputNode, TorchTensorType
from shoal.dag.tensors import AutoTransportType
from shoal.errors import ConfigError

HAS_TORCH = importlib.util.find_spec("torch") is not None
SECONDS = 60.0


def has_cuda() -> bool:
    if not HAS_TORCH:
        return False
    import torch

    return bool(torch.cuda.is_available())


@shoal.remote(num_cpus=0)
class Holder:
    def make(self, count: int, device: str = "cpu") -> Any:
        import torch

        return torch.full((count,), 2.0, device=device)

    def describe(self, value: Any) -> Any:
        tensor = value["tensor"] if isinstance(value, dict) else value
        return float(tensor.sum()), tensor.device.type, str(tensor.dtype)

    def wrapped(self, count: int) -> Any:
        return {"tensor": self.make(count), "name": "x"}


@pytest.mark.parametrize(
    ("transport", "device", "message"),
    [("carrier pigeon", "default", "transport is 'auto'"), ("shm", "moon", "device is 'default'")],
)
def test_words_that_mean_nothing(transport: str, device: str, message: str) -> None:
    node = InputNode()
    with pytest.raises(ConfigError, match=message):
        node.with_tensor_transport(transport, device)
    with pytest.raises(ConfigError, match=message):
        TorchTensorType(transport, device)


def test_the_hint_without_a_transport() -> None:
    hint = AutoTransportType(device="cpu", _static_shape=True)
    assert isinstance(hint, TorchTensorType)
    assert (hint.transport, hint.device, hint.static_shape) == (TorchTensorType.AUTO, "cpu", True)
    with pytest.raises(ConfigError, match="device is 'default'"):
        AutoTransportType(device="moon")


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
@pytest.mark.processes
@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("hint", ["auto", "shm", None])
@pytest.mark.parametrize("method", ["make", "wrapped"])
def test_tensors_in_main_memory(hint: str | None, method: str) -> None:
    maker, reader = Holder.remote(), Holder.remote()
    with InputNode() as inp:
        made = getattr(maker, method).bind(inp)
        if hint is not None:
            made = made.with_type_hint(TorchTensorType(transport=hint))
        graph = reader.describe.bind(made)
    with graph.experimental_compile() as compiled:
        for _ in range(15):
            assert shoal.get(compiled.execute(1_000), timeout=SECONDS) == (2000.0, "cpu", "torch.float32")


@pytest.mark.skipif(has_cuda(), reason="there is a CUDA device")
@pytest.mark.processes
@pytest.mark.usefixtures("processes")
def test_a_device_that_is_not_there_is_said_at_once() -> None:
    maker, reader = Holder.remote(), Holder.remote()
    with InputNode() as inp:
        graph = reader.describe.bind(maker.make.bind(inp).with_tensor_transport("nccl"))
    with pytest.raises(ConfigError, match=r"CUDA device in each|need torch"):
        graph.experimental_compile()
    assert shoal.get(maker.__shoal_ready__.remote(), timeout=SECONDS)


@pytest.mark.gpu
@pytest.mark.skipif(not has_cuda(), reason="needs a CUDA device")
@pytest.mark.processes
def test_tensors_from_device_to_device() -> None:
    with shoal.init(engine="native", num_cpus=2, num_gpus=1):
        half = Holder.options(num_gpus=0.5)
        maker, reader = half.remote(), half.remote()
        with InputNode() as inp:
            made = maker.make.bind(inp, "cuda").with_tensor_transport("nccl")
            graph = reader.describe.bind(made)
        with graph.experimental_compile() as compiled:
            for _ in range(15):
                assert shoal.get(compiled.execute(1_000), timeout=SECONDS) == (
                    2000.0,
                    "cuda",
                    "torch.float32",
                )
