"""Does a package of a stranger's work? Build ours and the sample's wheels, install both, and run the contracts by name.

Everything happens in a folder of its own, outside the checkout: what counts is what a user gets from the wheels.

    python tools/check_third_party.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "third_party_plugin"
UV = Path(sys.executable).with_name("uv")
CHOICE = {"SHOAL_SCHEDULER": "roundrobin", "SHOAL_METADATA": "jsonlines"}


def run(*command: str | Path, cwd: Path, quiet: bool = False, **variables: str) -> None:
    """Show a command and run it; its failure is ours."""
    print("$", " ".join(str(word) for word in command), flush=True)
    out = subprocess.DEVNULL if quiet else None
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(command, cwd=cwd, env=kept | variables, check=True, stdout=out)


def build(source: Path, out: Path, work: Path) -> Path:
    """Build a wheel from a copy: setuptools leaves a build folder behind whose stale files would be packed."""
    copy = work / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info"))
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        out,
        copy,
        cwd=work,
        quiet=True,
    )
    return max(out.glob("*.whl"), key=lambda path: path.stat().st_mtime_ns)


def check(work: Path) -> None:
    """Build, install, select by name, and run the contracts."""
    out = work / "wheels"
    wheels = [build(ROOT, out, work), build(SAMPLE, out, work)]
    environment = work / "environment"
    python, binaries = environment / "bin" / "python", environment / "bin"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment, cwd=work)
    install = (UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", python)
    run(*install, "--constraints", ROOT / "constraints.txt", wheels[0], f"{wheels[1]}[test]", cwd=work)

    run(binaries / "shoal", "plugins", cwd=work, **CHOICE)
    run(binaries / "shoal", "demo", "--files", "20", cwd=work, **CHOICE)
    tests = work / "tests"
    shutil.copytree(SAMPLE / "tests", tests)
    pytest = (binaries / "pytest", "-q", "-p", "no:cacheprovider")
    run(*pytest, tests, cwd=work)
    run(*pytest, "--pyargs", "shoal.testing", "--scheduler=roundrobin", "--metadata=jsonlines", cwd=work)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="shoal-third-party-") as folder:
        check(Path(folder))
    print("the sample plugin works from its wheel")
