"""python -m shoal.compat, and pytest's flag: programs and tests written for Ray run unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_servers import s3_server

pytestmark = pytest.mark.processes

SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seed_programs"

PROGRAM = """
import sys
import ray

@ray.remote
def f(x):
    import ray
    return ray.get(ray.put(x + 1))

class Value:
    def __init__(self, x):
        self.x = x

@ray.remote
def g(value):
    return Value(value.x + 1)

if __name__ == "__main__":
    ray.init(num_cpus=1)
    print(ray.get(f.remote(int(sys.argv[1]))), ray.get(g.remote(Value(1))).x, sys.argv[2:])
"""


def run(
    *arguments: str, cwd: Path, timeout: float = 100, **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SHOAL_", "PYTEST_", "RAY_"))
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def test_a_program_with_arguments(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run("-m", "shoal.compat", "program.py", "4", "-x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "5 2 ['-x']\n"), done.stderr


def test_a_module(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(PROGRAM)
    done = run("-m", "shoal.compat", "-m", "package", "6", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "7 2 []\n"), done.stderr


def test_a_program_that_fails_shows_its_own_traceback(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("import ray\n\nraise SystemExit(3)\n")
    assert run("-m", "shoal.compat", "fails.py", cwd=tmp_path).returncode == 3
    (tmp_path / "raises.py").write_text("import ray\n\n1 / 0\n")
    done = run("-m", "shoal.compat", "raises.py", cwd=tmp_path)
    assert done.returncode == 1
    assert 'raises.py", line 3' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "usage"),
        (("missing.py",), "cannot read missing.py"),
        (("-m", "no_such_module_here"), "no module named no_such_module_here"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], text: str, tmp_path: Path) -> None:
    done = run("-m", "shoal.compat", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert text in done.stderr


def test_the_flag_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import ray\n")
    (tmp_path / "test_theirs.py").write_text(
        "import ray\n"
        "def test_it():\n"
        "    ray.init(num_cpus=1)\n"
        "    assert ray.get(ray.remote(lambda: 3).remote()) == 3\n"
        "    ray.shutdown()\n"
    )
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--shoal-as-ray", cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "No module named 'ray'" in done.stdout + done.stderr


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the seed programs are not beside this checkout")
@pytest.mark.parametrize(
    "name",
    [
        "01_tasks",
        "02_actors",
        "03_objects",
        "05_train_minimal",
        "06_tune_asha",
        "07_serve_classifier",
        "08_serve_composition",
        "10_train_report",
        "11_train_ddp",
        "13_tune_trainer",
        "14_batch_inference",
    ],
)
def test_a_seed_program_runs_unchanged(name: str, tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    if "train" in name or "classifier" in name:
        pytest.importorskip("torch")
    if "serve" in name:
        pytest.importorskip("uvicorn")
    done = run("-m", "shoal.compat", str(SEEDS / f"{name}.py"), cwd=tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    said = {"06_tune_asha": "tune", "07_serve_classifier": "serve"}.get(
        name, name.partition("_")[2].replace("_", " ")
    )
    assert done.stdout.splitlines()[-1] == f"OK {said}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not SEEDS.is_dir(), reason="the seed programs are not beside this checkout")
def test_the_seed_program_of_reinforcement_learning_learns(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    done = run("-m", "shoal.compat", str(SEEDS / "09_rllib_ppo.py"), cwd=tmp_path, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "OK rllib"


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the seed programs are not beside this checkout")
def test_the_seed_program_of_data_runs_against_a_real_s3_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        done = run("-m", "shoal.compat", str(SEEDS / "04_data_s3.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "OK data"
