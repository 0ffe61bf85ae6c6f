"""Libraries are had as `shoal.NAME`, whoever brings them, and nothing of them is loaded before."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def _run(code: str, *paths: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _distribution(folder: Path, name: str, target: str) -> Path:
    (folder / f"{name}.py").write_text("def hello():\n    return 'from the library'\n")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[shoal.libraries]\ngreetings = {target}\n")
    return folder


def test_a_library_of_another_distribution(tmp_path: Path) -> None:
    folder = _distribution(tmp_path, "greeter", "greeter")
    said = _run(
        "import sys, shoal; assert 'greeter' not in sys.modules; print(shoal.greetings.hello())", folder
    )
    assert said == "from the library\n"


def test_our_own_are_loaded_when_they_are_used() -> None:
    code = """
        import sys, shoal
        assert not [name for name in sys.modules if name.startswith(("shoal.jobs", "shoal.registry"))]
        print(shoal.jobs.JobStatus.RUNNING, shoal.jobs is sys.modules["shoal.jobs"])
    """
    assert _run(code) == "RUNNING True\n"


def test_a_name_that_nobody_has(tmp_path: Path) -> None:
    code = """
        import shoal
        try:
            shoal.greeting
        except AttributeError as error:
            print(error)
        print(hasattr(shoal, "nothing"), hasattr(shoal, "_nothing"))
    """
    said = _run(code, _distribution(tmp_path, "greeter", "greeter"))
    assert said == "module 'shoal' has no attribute 'greeting'; there is a library 'greetings'\nFalse False\n"


@pytest.mark.parametrize(
    ("targets", "text"),
    [(["greeter:hello"], "is no module"), (["greeter", "other"], "two plugins are registered")],
)
def test_libraries_that_cannot_be_had(tmp_path: Path, targets: list[str], text: str) -> None:
    folders = []
    for number, target in enumerate(targets):
        folder = tmp_path / str(number)
        folder.mkdir()
        folders.append(_distribution(folder, target.partition(":")[0], target))
    code = """
        import shoal
        from shoal.errors import PluginBroken
        try:
            shoal.greetings
        except PluginBroken as error:
            print(error)
    """
    assert text in _run(code, *folders)
