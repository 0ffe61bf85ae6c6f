"""The contract of Accelerator over each of our own."""

from __future__ import annotations

import pytest

from shoal.accelerators.cpu import CpuAccelerator
from shoal.accelerators.cuda import CudaAccelerator
from shoal.interfaces.accelerator import Accelerator
from shoal.testing.accelerators import AcceleratorContract


class TestCpu(AcceleratorContract):
    @pytest.fixture
    def accelerator(self) -> Accelerator:
        return CpuAccelerator()


class TestCuda(AcceleratorContract):
    @pytest.fixture
    def accelerator(self) -> Accelerator:
        return CudaAccelerator()
