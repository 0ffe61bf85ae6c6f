"""Each module can be the first that a program imports: no module leans on another having run before it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from layers import LATE, is_named
from tree import modules

NAMES = [module.name for module in modules()]


@pytest.mark.parametrize("name", NAMES)
def test_imports_in_a_fresh_interpreter(name: str) -> None:
    for package, named_for_it in LATE.items():
        if is_named(name, named_for_it) and importlib.util.find_spec(package) is None:
            pytest.skip(f"the module is for {package}, which is not installed here")
    # -I keeps the current folder and the environment out; a warning at import is a fault of ours.
    command = [sys.executable, "-I", "-W", "error", "-c", f"import {name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
