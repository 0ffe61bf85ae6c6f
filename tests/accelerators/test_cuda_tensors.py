"""Tensors that stay on a CUDA device, and are copied from device to device."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import shoal

SECONDS = 60.0
LARGE = 100_000


def has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.processes,
    pytest.mark.skipif(not has_cuda(), reason="needs a CUDA device"),
]


@shoal.remote(num_cpus=0)
class Holder:
    @shoal.method(tensor_transport="nccl")
    def make(self, count: int) -> Any:
        import torch

        self.last = torch.ones(count, device="cuda") * 2
        return {"tensor": self.last}

    def is_last(self, value: Any) -> bool:
        return value["tensor"] is self.last

    def look(self, value: Any) -> tuple[float, str]:
        tensor = value["tensor"]
        tensor += 1  # our own copy
        return float(tensor.sum()), tensor.device.type


def test_tensors_go_from_device_to_device() -> None:
    with shoal.init(engine="native", num_cpus=2, num_gpus=1):
        part = Holder.options(num_gpus=0.3)
        maker, reader, without = part.remote(), part.remote(), Holder.remote()
        ref = maker.make.remote(LARGE)
        assert shoal.get(maker.is_last.remote(ref), timeout=SECONDS)
        for _ in range(10):
            assert shoal.get(reader.look.remote(ref), timeout=SECONDS) == (3.0 * LARGE, "cuda")
        assert shoal.get(without.look.remote(ref), timeout=SECONDS) == (3.0 * LARGE, "cpu")
        assert float(shoal.get(ref, timeout=SECONDS)["tensor"].sum()) == 2 * LARGE
        assert shoal.get(maker.is_last.remote(ref), timeout=SECONDS)
