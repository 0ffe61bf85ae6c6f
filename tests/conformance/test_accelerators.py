"""The contract of Accelerator over each of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
from other_devices import rocm_machine

from shoal.accelerators.cpu import CpuAccelerator
from shoal.accelerators.cuda import CudaAccelerator
from shoal.accelerators.mps import MpsAccelerator
from shoal.accelerators.rocm import RocmAccelerator
from shoal.accelerators.tpu import TpuAccelerator
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


class TestRocm(AcceleratorContract):
    @pytest.fixture
    def accelerator(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accelerator:
        for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        return RocmAccelerator(rocm_machine(tmp_path, 3))


class TestTpu(AcceleratorContract):
    @pytest.fixture
    def accelerator(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accelerator:
        monkeypatch.delenv("TPU_VISIBLE_CHIPS", raising=False)
        for chip in range(4):
            (tmp_path / f"accel{chip}").touch()
        return TpuAccelerator(str(tmp_path))


class TestMps(AcceleratorContract):
    @pytest.fixture
    def accelerator(self) -> Accelerator:
        return MpsAccelerator()
