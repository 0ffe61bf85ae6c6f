"""NVIDIA devices, as a program named nvidia-smi on the search path tells of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.accelerators.cuda import CudaAccelerator
from shoal.accelerators.nvidia import find, model
from shoal.errors import ConfigError
from shoal.interfaces.accelerator import Device

FOUR = """0, GPU-aaaa-1, NVIDIA H100 80GB HBM3, 81559, Disabled
1, GPU-bbbb-2, NVIDIA H100 80GB HBM3, 81559, Disabled
2, GPU-cccc-3, Tesla T4, 15360, [N/A]
3, GPU-cccd-4, NVIDIA GeForce RTX 3090, 24576, [N/A]"""
DIVIDED = """0, GPU-aaaa-1, NVIDIA A100-SXM4-40GB, 40960, Enabled
1, GPU-bbbb-2, NVIDIA A100-SXM4-40GB, 40960, Disabled"""
LISTING = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-1)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-2)"""

Install = Callable[..., None]


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts an nvidia-smi with these answers on the path."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(answer: str, listing: str = "", status: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(
            f"#!{sys.executable}\nimport sys\n"
            f"print({listing!r} if '-L' in sys.argv else {answer!r})\nsys.exit({status})\n"
        )
        program.chmod(0o755)

    return install


def identifiers() -> list[str]:
    return [device.id for device in CudaAccelerator().detect()]


def test_all_devices_with_model_and_memory(nvidia_smi: Install) -> None:
    nvidia_smi(FOUR)
    found = CudaAccelerator().detect()
    assert [device.type for device in found] == ["H100", "H100", "T4", "RTX-3090"]
    assert found[0] == Device(id="0", type="H100", memory=81559 << 20)
    assert CudaAccelerator().quantity(found) == 4.0


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("", []),
        ("  ", []),
        ("NoDevFiles", []),
        ("-1", []),
        ("2", ["2"]),
        ("3,0", ["3", "0"]),
        ("0, 1", ["0", "1"]),
        ("0,9,1", ["0"]),
        ("9", []),
        ("1,1,0", ["1"]),
        ("0,-1,1", ["0"]),
        ("GPU-bbbb-2", ["GPU-bbbb-2"]),
        ("GPU-bbbb,0", ["GPU-bbbb", "0"]),
        ("GPU-none", []),
        ("MIG-1111", []),
    ],
)
def test_the_variable_is_obeyed(
    nvidia_smi: Install, monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    nvidia_smi(FOUR)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert identifiers() == expected


def test_a_divided_device_counts_as_its_parts(nvidia_smi: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(DIVIDED, LISTING)
    assert identifiers() == ["MIG-1111", "MIG-2222", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2222,1")
    assert identifiers() == ["MIG-2222", "1"]
    assert CudaAccelerator().detect()[0].type == "A100"


@pytest.mark.parametrize("status", [0, 9])
def test_a_driver_without_devices(nvidia_smi: Install, status: int) -> None:
    nvidia_smi("No devices were found", status=status)
    assert identifiers() == []


def test_a_program_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    os.mkfifo(tmp_path / "never")
    program.write_text(f"#!/bin/sh\nread line < {tmp_path}/never\n")
    program.chmod(0o755)
    started = time.monotonic()
    assert find(str(program), proc=str(tmp_path), seconds=0.2) == []
    assert time.monotonic() - started < 5


def test_without_the_program_the_driver_s_own_files_tell(tmp_path: Path) -> None:
    for number, bus in enumerate(("0000:01:00.0", "0000:81:00.0")):
        folder = tmp_path / "driver" / "nvidia" / "gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(
            f"Model: \t\t NVIDIA L40S\nGPU UUID: \t GPU-{number}\nDevice Minor: \t {number}\n"
        )
    found = find("/no/such/program", proc=str(tmp_path))
    assert [(gpu.index, gpu.uuid, gpu.model) for gpu in found] == [
        ("0", "GPU-0", "L40S"),
        ("1", "GPU-1", "L40S"),
    ]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA GeForce GTX 1080 Ti", "GTX-1080-Ti"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("NVIDIA Graphics Device", "Graphics-Device"),
    ],
)
def test_models_have_short_names(name: str, short: str) -> None:
    assert model(name) == short


def test_a_worker_sees_exactly_its_devices() -> None:
    environment = CudaAccelerator().environment
    assert environment(["2", "0"])["CUDA_VISIBLE_DEVICES"] == "2,0"
    assert environment([])["CUDA_VISIBLE_DEVICES"] == ""
    assert environment(["0"])["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize("quantity", [1.5, 2.0001])
def test_more_than_one_is_whole(quantity: float) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        CudaAccelerator().check(quantity)


@pytest.mark.parametrize("quantity", [0.0001, 0.25, 0.5, 1, 8])
def test_shares_of_one_device_are_fine(quantity: float) -> None:
    CudaAccelerator().check(quantity)


def test_the_label_names_the_most_frequent_type() -> None:
    devices = [Device(id="0", type="T4"), Device(id="1", type="A100"), Device(id="2", type="A100")]
    assert CudaAccelerator().type_labels(devices) == {"shoal.io/accelerator-type": "A100"}


@pytest.mark.gpu
def test_on_real_hardware() -> None:
    if not Path("/proc/driver/nvidia/gpus").is_dir() and not Path("/dev/nvidia0").exists():
        pytest.skip("this machine has no NVIDIA driver")
    found = CudaAccelerator().detect()
    assert found
    assert all(device.type for device in found)
    assert all(device.memory > 1 << 30 for device in found)
