"""What is built is whole: the wheel goes into an empty environment, and every module of it is imported alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from layers import LATE, ONLY_FOR
from tree import PACKAGE_DIR, PYPROJECT, ROOT, modules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UV = Path(sys.executable).with_name("uv")
# What a module may miss in an environment without extras; with them installed it imports.
OPTIONAL = {*LATE, *ONLY_FOR}


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the checkout's environment; return its output or fail with what it said."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=cwd, env=kept, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves a build folder behind whose stale files would be packed."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in sorted({folder.partition("/")[0] for folder in PACKAGE_DIR.values()}):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=source)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, its dependencies and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    interpreter = folder / "venv" / "bin" / "python"
    call(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    call(
        *(UV, "pip", "install", "--quiet", "--python", interpreter),
        *("--constraints", ROOT / "constraints.txt", wheel),
        cwd=folder,
    )
    return interpreter


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    expected = {
        module.name.replace(".", "/") + ("/__init__.py" if module.is_package else ".py")
        for module in modules()
    }
    assert {name for name in names if name.endswith(".py")} == expected
    assert "shoal/py.typed" in names


def test_every_module_imports_alone_without_extras(python: Path, tmp_path: Path) -> None:
    def complaint(name: str) -> str | None:
        command = [python, "-I", "-c", f"import {name}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        last = done.stderr.strip().rpartition("\n")[2]
        missing = last.removeprefix("ModuleNotFoundError: No module named ").strip("'").partition(".")[0]
        allowed = missing in OPTIONAL and name.startswith(LATE.get(missing, ()) + ONLY_FOR.get(missing, ()))
        return None if done.returncode == 0 or allowed else f"{name}: {done.stderr}"

    with ThreadPoolExecutor(2) as pool:
        complaints = list(pool.map(complaint, [module.name for module in modules()]))
    assert [text for text in complaints if text is not None] == []


def test_the_command_and_the_entry_points_are_there(python: Path, tmp_path: Path) -> None:
    listed = call(
        python,
        *(
            "-I",
            "-c",
            "from importlib.metadata import entry_points as e; print(len(e().select(group='shoal.stores')))",
        ),
        cwd=tmp_path,
    )
    assert int(listed) == len(PYPROJECT["project"]["entry-points"]["shoal.stores"])
    shown = call(python.with_name("shoal"), "--version", cwd=tmp_path)
    assert shown.strip() == f"shoal, version {PYPROJECT['project']['version']}"
