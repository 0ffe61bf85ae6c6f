"""The table in layers.py is kept, imports inside functions included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from layers import LATE, MAY_IMPORT, ONLY_FOR, OUR_FOLDERS, is_named, unit_of
from tree import ROOT, Import, Module, imports_of, modules

MODULES = modules()
KNOWN = frozenset(module.name for module in MODULES)


def unit(name: str) -> str | None:
    return "shoal" if name == "shoal" else unit_of(name)


def every_import() -> Iterator[tuple[Module, Import]]:
    for module in MODULES:
        for found in imports_of(module, KNOWN):
            yield module, found


def forbidden(module: Module, found: Import) -> str | None:
    """Say what is wrong with one import, or None."""
    where = f"{module.shown}:{found.line}:"
    top = found.target.partition(".")[0]
    if top in OUR_FOLDERS:
        return f"{where} {found.target} is a folder; import it as shoal.…"
    if top in ONLY_FOR and not module.name.startswith(ONLY_FOR[top]):
        return f"{where} only {', '.join(ONLY_FOR[top])} may import {top}"
    if top in LATE and not (found.in_function or found.for_types_only or is_named(module.name, LATE[top])):
        return f"{where} import {top} inside the function that needs it"
    if top != "shoal":
        return None
    here, there = unit(module.name), unit(found.target)
    if here == there or (here is not None and there in MAY_IMPORT[here]):
        return None
    return f"{where} {module.name} may not import {found.target}"


def test_every_module_belongs_to_a_unit() -> None:
    homeless = [module.shown for module in MODULES if unit(module.name) is None]
    assert homeless == [], "give the folder a line in tests/architecture/layers.py"


def test_no_import_climbs() -> None:
    assert [
        complaint for module, found in every_import() if (complaint := forbidden(module, found)) is not None
    ] == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {module.name: set() for module in MODULES}
    for module, found in every_import():
        if found.target in KNOWN and found.target != module.name and not found.for_types_only:
            edges[module.name].add(found.target)
    assert circles(edges) == []


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups of more than one module, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(edges.get(name, ())):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            start = stack.index(name)
            group = sorted(stack[start:])
            del stack[start:]
            if len(group) > 1:
                found.append(group)

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return sorted(found)


def test_the_table_itself_has_no_circle() -> None:
    assert circles(MAY_IMPORT) == []


@pytest.mark.parametrize(
    ("name", "found", "complaint"),
    [
        (
            "shoal.spec.x",
            Import(7, "shoal.api.session", False, False),
            "kernel/x.py:7: shoal.spec.x may not import shoal.api.session",
        ),
        (
            "shoal.api.x",
            Import(7, "shoal.native.engine", True, False),
            "kernel/x.py:7: shoal.api.x may not import shoal.native.engine",
        ),
        (
            "shoal.stores.x",
            Import(7, "shoal.schedulers.y", True, True),
            "kernel/x.py:7: shoal.stores.x may not import shoal.schedulers.y",
        ),
        (
            "shoal.api.x",
            Import(7, "grpc", True, False),
            "kernel/x.py:7: only shoal.native, shoal.serve may import grpc",
        ),
        (
            "shoal.api.x",
            Import(7, "numpy", False, False),
            "kernel/x.py:7: import numpy inside the function that needs it",
        ),
        (
            "shoal.api.x",
            Import(7, "schedulers.hybrid", True, False),
            "kernel/x.py:7: schedulers.hybrid is a folder; import it as shoal.…",
        ),
        ("shoal.api.x", Import(7, "numpy", True, False), None),
        ("shoal.api.x", Import(7, "shoal.interfaces.engine", False, False), None),
        (
            "shoal.native.x",
            Import(7, "shoal.api", False, False),
            "kernel/x.py:7: shoal.native.x may not import shoal.api",
        ),
        (
            "shoal.native.x",
            Import(7, "shoal", True, False),
            "kernel/x.py:7: shoal.native.x may not import shoal",
        ),
    ],
)
def test_the_rule_tells_right_from_wrong(name: str, found: Import, complaint: str | None) -> None:
    assert complaint == forbidden(Module(name, ROOT / "kernel" / "x.py"), found)


def test_the_finder_sees_every_kind_of_import(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import a.b\n"
        "from shoal import errors, init\n"
        "def f():\n"
        "    from c import d\n"
        "    importlib.import_module('e')\n"
        "if TYPE_CHECKING:\n"
        "    import g\n"
    )
    assert [
        Import(1, "a.b", False, False),
        Import(2, "shoal", False, False),
        Import(2, "shoal.errors", False, False),
        Import(4, "c", True, False),
        Import(5, "e", True, False),
        Import(7, "g", False, True),
    ] == imports_of(Module("shoal.x", path), frozenset({"shoal.errors"}))
