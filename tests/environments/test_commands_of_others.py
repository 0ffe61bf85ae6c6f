"""Steps that drive programs of others: conda and container engines, by stand-ins that do as those programs would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import shoal
from shoal.environments.conda import CondaStep
from shoal.environments.container import ContainerStep, ImageUriStep, container_command
from shoal.errors import RuntimeEnvSetup
from shoal.native.worker.become import expanded

SECONDS = 60.0

CONDA = f"""#!{sys.executable}
import json, pathlib, subprocess, sys
words = sys.argv[1:]
if words == ["env", "list", "--json"]:
    print(json.dumps({{"envs": ["/opt/base", PREFIX]}}))
    sys.exit()
assert words[:2] == ["env", "create"], words
text = pathlib.Path(words[words.index("--file") + 1]).read_text()
print("Collecting package metadata")
if "no-such-package" in text:
    sys.exit("PackagesNotFoundError: no-such-package")
prefix = words[words.index("--prefix") + 1]
subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
pathlib.Path(prefix, "description").write_text(text)
"""

# Runs the command on this machine, once the options are read as podman reads them.
PODMAN = f"""#!{sys.executable}
import os, pathlib, subprocess, sys
log = pathlib.Path(sys.argv[0]).with_suffix(".log")
words = sys.argv[1:]
with log.open("a") as file:
    print(words, file=file)
if words[:2] == ["image", "inspect"]:
    sys.exit(0 if words[-1] == "here:1" else 1)
if words[0] == "pull":
    sys.exit("manifest unknown: " + words[1] if "none" in words[1] else 0)
assert words[0] == "run", words
options = [word for word in words[1:] if word.startswith("-")]
image, *command = words[1 + len(options):]
seen = [option.partition("=")[2].partition(":")[0] for option in options if option.startswith("--volume=")]
assert all(os.path.exists(path) for path in seen), seen
for needed in command[1:4]:
    assert any(os.path.realpath(needed).startswith(os.path.realpath(path)) for path in seen), (needed, seen)
os.environ["IN_CONTAINER"] = image
# The container's process is no child's child that ends with this one.
sys.exit(subprocess.run([{sys.executable!r}, *command[1:]], start_new_session=True).returncode)
"""


@shoal.remote(num_cpus=0)
class Process:
    def pid(self) -> int:
        return os.getpid()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a program on PATH, and nothing of its kind beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CONDA_EXE", raising=False)

    def put(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return put


def test_conda_makes_an_environment(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    program("conda", CONDA)
    step = CondaStep()
    folder = tmp_path / "built"
    folder.mkdir()
    changes = step.build(step.check({"dependencies": ["python", "x"]}), str(folder))
    prefix = changes.variables["CONDA_PREFIX"]
    assert Path(prefix).is_relative_to(folder)
    assert '"dependencies": ["python", "x"]' in (Path(prefix) / "description").read_text()
    printed = subprocess.run(
        [*changes.command, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == prefix
    described = tmp_path / "environment.yml"
    described.write_text("dependencies:\n  - no-such-package\n")
    with pytest.raises(RuntimeEnvSetup, match=r"(?s)conda failed.*Collecting package.*PackagesNotFoundError"):
        step.build(step.check(str(described)), str(folder))


def test_conda_knows_environments_by_name(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    prefix = tmp_path / "envs" / "mine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    program("mamba", CONDA.replace("PREFIX", repr(str(prefix))))
    step = CondaStep()
    assert step.build(step.check("mine"), str(tmp_path)).command == [str(prefix / "bin" / "python")]
    assert step.build(step.check(str(prefix)), str(tmp_path)).command == [str(prefix / "bin" / "python")]
    with pytest.raises(RuntimeEnvSetup, match="no environment 'yours' on this node; it knows: base, mine"):
        step.build(step.check("yours"), str(tmp_path))


def test_a_node_without_conda_says_so(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    with pytest.raises(RuntimeEnvSetup, match="none of the programs conda, mamba, micromamba"):
        CondaStep().build({"name": "x"}, str(tmp_path))


@pytest.mark.processes
def test_workers_in_a_container(program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = program("podman", PODMAN)

    @shoal.remote(max_retries=0)
    def where(value: int) -> tuple[str, str, int]:
        return os.environ.get("IN_CONTAINER", ""), os.environ.get("GIVEN", ""), value

    with shoal.init(engine="native", num_cpus=2):
        image = {"container": {"image": "here:1", "run_options": ["--memory=1g"]}, "env_vars": {"GIVEN": "x"}}
        boxed = where.options(runtime_env=image)
        assert shoal.get([boxed.remote(i) for i in range(3)], timeout=SECONDS) == [
            ("here:1", "x", i) for i in range(3)
        ]
        pulled = where.options(runtime_env={"image_uri": "registry.example/there:1"})
        assert shoal.get(pulled.remote(1), timeout=SECONDS) == ("registry.example/there:1", "", 1)
        actor = Process.options(runtime_env=image).remote()
        pid = shoal.get(actor.pid.remote(), timeout=SECONDS)
        shoal.kill(actor)
        end = time.monotonic() + SECONDS
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end
            time.sleep(0.01)
        bad = where.options(runtime_env={"image_uri": "registry.example/none:1"})
        with pytest.raises(RuntimeEnvSetup, match=r"manifest unknown: registry\.example/none:1"):
            shoal.get(bad.remote(1), timeout=SECONDS)
    log = engine.with_suffix(".log").read_text()
    assert "'--memory=1g'" in log
    assert "'--env=GIVEN'" in log


def test_the_command_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    value = ContainerStep().check({"image": "docker.io/library/python:3.11", "python": "python3.11"})
    words = container_command("/usr/bin/docker", value)
    assert words[:3] == ["/usr/bin/docker", "run", "--rm"]
    assert f"--user={os.getuid()}:{os.getgid()}" in words
    assert words[-3:] == ["--entrypoint=", "docker.io/library/python:3.11", "python3.11"]
    full = expanded(words, {"path": ["/a", "/b"], "variable": ["A"]})
    assert [word for word in full if word.startswith(("--volume", "--env"))] == [
        "--volume=/a:/a",
        "--volume=/b:/b",
        "--env=A",
    ]
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert "--userns=keep-id" in container_command("/usr/bin/podman", value)


def test_a_node_without_an_engine_says_so(
    program: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeEnvSetup, match="no container engine"):
        ImageUriStep().build("python:3.11", str(tmp_path))
    monkeypatch.setenv("SHOAL_CONTAINER_ENGINE", "nerdctl")
    with pytest.raises(RuntimeEnvSetup, match="looked for nerdctl"):
        ImageUriStep().build("python:3.11", str(tmp_path))
