"""Each module can be the first of ours that a program imports: no module leans on another having run before it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from layers import LATE, is_named
from tree import modules

NAMES = [module.name for module in modules()]
FORKING = Path(__file__).with_name("importing.py")


@pytest.fixture(scope="session")
def imported() -> Iterator[Callable[[str], str]]:
    """Imports a module in a process of its own, which has others' heavy packages but none of ours; gives its error."""
    # -I keeps the current folder and the environment out; a warning at import is a fault of ours.
    command = [sys.executable, "-I", "-W", "error", str(FORKING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(name: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            told: str = json.loads(process.stdout.readline())
            return told

        yield ask
        process.stdin.close()
        process.wait(timeout=60)


@pytest.mark.parametrize("name", NAMES)
def test_imports_in_a_fresh_interpreter(name: str, imported: Callable[[str], str]) -> None:
    for package, named_for_it in LATE.items():
        if is_named(name, named_for_it) and importlib.util.find_spec(package) is None:
            pytest.skip(f"the module is for {package}, which is not installed here")
    assert not imported(name)
