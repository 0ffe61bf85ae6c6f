"""Frameworks that have an environment of their own: `make frameworks` makes it, and without it nothing runs here."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from real_servers import s3_server

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv-frameworks"
PYTHON = HOME / "bin" / "python"
PROGRAMS = Path(__file__).parent / "programs"
SEED = ROOT.parent / "shared" / "seed_programs" / "12_train_deepspeed_s3.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="TensorFlow, JAX and DeepSpeed are not here; `make frameworks` gets them"
    ),
]


def run(*arguments: str | Path, cwd: Path, seconds: float = 120, **variables: str) -> list[str]:
    """Run a program in that environment; return the lines that it printed."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SHOAL_", "PYTEST_", "RAY_", "KERAS_"))
    }
    own = {
        "DS_ACCELERATOR": "cpu",
        # DeepSpeed compiles what it needs once, for a minute or two.
        "TORCH_EXTENSIONS_DIR": str(HOME / "extensions"),
        "PATH": f"{HOME / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    done = subprocess.run(
        [PYTHON, "-W", "ignore", *arguments],
        cwd=cwd,
        env={**kept, **own, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()


def test_tensorflow_learns_digits_on_two_workers(tmp_path: Path) -> None:
    found = json.loads(run(PROGRAMS / "digits_of_tensorflow.py", tmp_path / "runs", cwd=tmp_path)[-1])
    assert found["accuracy"] >= 0.95
    assert (found["replicas"], found["cluster"]) == (2, 2)
    assert found["kept"] == ["weights.npz"]


def test_jax_learns_digits_on_two_workers(tmp_path: Path) -> None:
    found = json.loads(run(PROGRAMS / "digits_of_jax.py", tmp_path / "runs", cwd=tmp_path)[-1])
    assert found["accuracy"] >= 0.95
    assert (found["devices"], found["processes"]) == (2, 2)


@pytest.mark.timeout(500)
def test_deepspeed_learns_digits_in_all_stages_and_loads_its_shards(tmp_path: Path) -> None:
    printed = run(
        PROGRAMS / "digits_of_deepspeed.py", tmp_path / "runs", "0", "1", "2", "3", cwd=tmp_path, seconds=450
    )
    found = [json.loads(line) for line in printed if line.startswith("{")]
    assert [each["stage"] for each in found] == [0, 1, 2, 3]
    for each in found:
        assert each["accuracy"] >= 0.95, each
        assert each["epochs"] == list(range(16))


@pytest.mark.skipif(not SEED.exists(), reason="the seed programs are not beside this checkout")
@pytest.mark.timeout(500)
def test_the_seed_program_of_deepspeed_keeps_its_run_on_a_real_s3_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import fs

    with s3_server() as address:
        there = {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in there.items():
            monkeypatch.setenv(name, value)
        bucket = fs.S3FileSystem(endpoint_override=address, allow_bucket_creation=True)
        bucket.create_dir("seeds")
        printed = run(
            "-m", "shoal.compat", SEED, cwd=tmp_path, seconds=450, SEED_BUCKET="seeds", HOME=str(tmp_path)
        )
        found = bucket.get_file_info(fs.FileSelector("seeds/checkpoints", recursive=True))
    assert printed[-1] == "OK train deepspeed"
    assert {"run.json", "metrics.json"} <= {each.base_name for each in found}
