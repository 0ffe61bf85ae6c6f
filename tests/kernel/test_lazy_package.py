"""`shoal` imports its names when they are used: its table of homes agrees with what type checkers see."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import shoal
from shoal.spec.version import VERSION


def seen_by_type_checkers() -> dict[str, str]:
    assert shoal.__file__ is not None
    tree = ast.parse(Path(shoal.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def test_every_name_is_what_type_checkers_see() -> None:
    for name, home in seen_by_type_checkers().items():
        module, _, attribute = home.rpartition(".")
        if module == "shoal":
            assert getattr(shoal, name) is importlib.import_module(home)
        else:
            assert getattr(shoal, name) is getattr(importlib.import_module(module), attribute)


def test_all_names_are_there() -> None:
    assert {*seen_by_type_checkers(), "__version__"} == set(shoal.__all__)
    assert set(shoal.__all__) <= set(dir(shoal))


def test_there_is_one_version() -> None:
    assert shoal.__version__ == VERSION


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rmote'"):
        _ = shoal.rmote  # type: ignore[attr-defined]


def test_import_loads_next_to_nothing() -> None:
    code = "import sys, shoal; print(sorted(m for m in sys.modules if m.startswith(('shoal.', 'attr'))))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == "[]"
