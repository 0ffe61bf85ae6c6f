"""`__all__` says exactly what a module exports. That the lists are sorted is ruff's rule RUF022."""

from __future__ import annotations

import ast
import importlib

import pytest
from tree import Module, modules


def declared(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, or None where there is none."""
    for node in tree.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, (ast.Assign, ast.AnnAssign))
            assert node.value is not None
            return list(ast.literal_eval(node.value))
    return None


def bound(tree: ast.Module, package: bool) -> set[str]:
    """Public names that the module makes at its top level; in a package file, what it imports from us as well."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif (
            package and isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "shoal"
        ):
            names |= {alias.asname or alias.name for alias in node.names}
    return {name for name in names if not name.startswith("_")}


PARSED = [(module, ast.parse(module.path.read_text())) for module in modules()]
PACKAGE_FILES = [pytest.param(*pair, id=pair[0].name) for pair in PARSED if pair[0].is_package]
WITH_LIST = [pytest.param(*pair, id=pair[0].name) for pair in PARSED if declared(pair[1]) is not None]


@pytest.mark.parametrize(("module", "tree"), PACKAGE_FILES)
def test_a_package_file_lists_all_that_it_exports(module: Module, tree: ast.Module) -> None:
    exported = bound(tree, package=True)
    assert exported <= set(declared(tree) or ()), f"add them to __all__ in {module.shown}"


@pytest.mark.parametrize(("module", "tree"), PACKAGE_FILES)
def test_a_package_file_does_nothing_but_export(module: Module, tree: ast.Module) -> None:
    quiet = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef)
    busy = [
        f"{module.shown}:{node.lineno}"
        for node in tree.body
        if not isinstance(node, quiet)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    assert busy == []


@pytest.mark.parametrize(("module", "tree"), WITH_LIST)
def test_every_listed_name_is_there_once(module: Module, tree: ast.Module) -> None:
    names = declared(tree) or []
    loaded = importlib.import_module(module.name)
    assert [name for name in names if not hasattr(loaded, name)] == []
    assert sorted(set(names)) == sorted(names)


def test_there_is_something_to_check() -> None:
    assert WITH_LIST, "no module has an __all__"
