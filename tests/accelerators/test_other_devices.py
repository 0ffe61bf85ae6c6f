"""AMD's, Google's and Apple's devices, as files and programs tell of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from other_devices import GIB, rocm_machine

import shoal
from shoal.accelerators.mps import MpsAccelerator
from shoal.accelerators.rocm import RocmAccelerator
from shoal.accelerators.tpu import TpuAccelerator
from shoal.errors import ConfigError
from shoal.interfaces.accelerator import Device


@pytest.fixture(autouse=True)
def _nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("TPU_", "HIP_", "ROCR_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("lower", "visible", "expected"),
    [
        (None, None, ["0", "1", "2", "3"]),
        (None, "2,0", ["2", "0"]),
        (None, "", []),
        (None, "1,9,2", ["1"]),
        (None, "1,1", ["1"]),
        ("3,1", None, ["0", "1"]),
        ("3,1", "1", ["1"]),
        ("3", "1", []),
    ],
)
def test_which_amd_devices_are_visible(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lower: str | None,
    visible: str | None,
    expected: list[str],
) -> None:
    for name, value in {"ROCR_VISIBLE_DEVICES": lower, "HIP_VISIBLE_DEVICES": visible}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    found = RocmAccelerator(rocm_machine(tmp_path, 4)).detect()
    assert [device.id for device in found] == expected


def test_amd_devices_have_a_model_and_memory_of_their_own(tmp_path: Path) -> None:
    accelerator = RocmAccelerator(rocm_machine(tmp_path, 2))
    assert accelerator.detect()[1] == Device(id="1", type="AMD-Instinct-MI300X-OAM", memory=192 * GIB)
    assert accelerator.type_labels(accelerator.detect()) == {
        "shoal.io/accelerator-type": "AMD-Instinct-MI300X-OAM"
    }
    assert accelerator.environment(["1", "0"]) == {"HIP_VISIBLE_DEVICES": "1,0"}
    unknown = RocmAccelerator(rocm_machine(tmp_path / "other", 1, device=1)).detect()
    assert [device.type for device in unknown] == ["AMD-GPU"]
    assert RocmAccelerator(str(tmp_path / "none")).detect() == []
    with pytest.raises(ConfigError, match="a share of one GPU"):
        accelerator.check(1.5)


def test_a_host_of_a_slice_of_tpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for chip in range(4):
        (tmp_path / f"accel{chip}").touch()
    (tmp_path / "acceleration").touch()
    accelerator = TpuAccelerator(str(tmp_path))
    assert [device.type for device in accelerator.detect()] == ["TPU"] * 4
    slice_of = {
        "TPU_ACCELERATOR_TYPE": "v4-16",
        "TPU_NAME": "mine",
        "TPU_WORKER_ID": "1",
        "TPU_TOPOLOGY": "2x2x2",
    }
    for name, value in slice_of.items():
        monkeypatch.setenv(name, value)
    assert accelerator.type_labels(accelerator.detect()) == {
        "shoal.io/accelerator-type": "TPU-V4",
        "shoal.io/tpu-slice-name": "mine",
        "shoal.io/tpu-worker-id": "1",
        "shoal.io/tpu-pod-type": "v4-16",
        "shoal.io/tpu-topology": "2x2x2",
    }
    assert accelerator.environment(["2", "3"]) == {
        "TPU_VISIBLE_CHIPS": "2,3",
        "TPU_CHIPS_PER_HOST_BOUNDS": "1,2,1",
        "TPU_HOST_BOUNDS": "1,1,1",
    }
    assert accelerator.environment(["0", "1", "2", "3"]) == {"TPU_VISIBLE_CHIPS": "0,1,2,3"}
    monkeypatch.setenv("TPU_VISIBLE_CHIPS", "3,1,9")
    assert [device.id for device in accelerator.detect()] == ["3", "1"]
    with pytest.raises(ConfigError, match="whole number of chips"):
        accelerator.check(0.5)


def test_newer_tpus_are_groups_of_vfio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vfio").mkdir()
    for name in ("vfio", "12", "7", "30", "31"):
        (tmp_path / "vfio" / name).touch()
    accelerator = TpuAccelerator(str(tmp_path))
    assert accelerator.detect() == []  # they may be anybody's
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    assert [device.id for device in accelerator.detect()] == ["0", "1", "2", "3"]
    assert accelerator.detect()[0].type == "TPU-V5LITEPOD"


def test_a_mac(tmp_path: Path) -> None:
    program = tmp_path / "sysctl"

    def install(brand: str) -> MpsAccelerator:
        program.write_text(
            f"#!{sys.executable}\nimport sys\n"
            f"print({{'machdep.cpu.brand_string': {brand!r}, 'hw.memsize': '34359738368'}}[sys.argv[2]])\n"
        )
        program.chmod(0o755)
        return MpsAccelerator(str(program))

    assert install("Apple M3 Max").detect() == [Device(id="0", type="M3-Max", memory=32 * GIB)]
    assert install("Intel(R) Core(TM) i7").detect() == []
    assert MpsAccelerator(str(tmp_path / "none")).detect() == []


@pytest.mark.processes
def test_a_session_gives_workers_the_chips_that_they_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "others.py").write_text(
        "from shoal.accelerators.tpu import TpuAccelerator\n\n\n"
        "class Mine(TpuAccelerator):\n    name = 'others'\n\n"
        f"    def __init__(self) -> None:\n        super().__init__({str(tmp_path)!r})\n"
    )
    for chip in range(4):
        (tmp_path / f"accel{chip}").touch()
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[shoal.accelerators]\nothers = others:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from shoal.registry import discover

    discover.forget()

    @shoal.remote(resources={"TPU": 2})
    def mine() -> str:
        return os.environ["TPU_VISIBLE_CHIPS"]

    try:
        with shoal.init(num_cpus=2, accelerators=["cpu", "others"]):
            assert shoal.cluster_resources()["TPU"] == 4.0
            assert sorted(shoal.get(mine.remote(), timeout=60).split(",")) in (["0", "1"], ["2", "3"])
    finally:
        monkeypatch.undo()
        discover.forget()
