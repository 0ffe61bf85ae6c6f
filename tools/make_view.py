"""Rebuild .view/shoal, the tree of symlinks in which static tools see the package as users import it.

pyproject maps top-level folders to import names (`kernel` is `shoal`, `schedulers` is `shoal.schedulers`). Python
understands that map after an install; mypy, pyright and import-linter do not. Here they get a folder that looks like
the installed package, and a new file shows up in it without an install.

    python tools/make_view.py        # prints the folder to put on a tool's path
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def package_map(root: Path) -> dict[str, Path]:
    """Import name to folder, as pyproject states it; folders that do not exist are left out."""
    with (root / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    return {name: root / folder for name, folder in table.items() if (root / folder).is_dir()}


def make_view(root: Path, view: Path) -> None:
    """Build the tree beside the old one and swap, so that a tool running now never sees half a tree."""
    fresh = view.with_name(f"{view.name}.{os.getpid()}")
    folders = package_map(root)
    top = fresh / "shoal"
    top.mkdir(parents=True)
    for entry in sorted(folders.pop("shoal").iterdir()):
        if entry.name != "__pycache__":
            (top / entry.name).symlink_to(entry)
    for name, folder in sorted(folders.items()):
        (fresh / name.replace(".", "/")).symlink_to(folder)
    shutil.rmtree(view, ignore_errors=True)
    fresh.rename(view)


if __name__ == "__main__":
    make_view(ROOT, ROOT / ".view")
    print(ROOT / ".view")
