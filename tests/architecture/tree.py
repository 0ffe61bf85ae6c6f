"""What the checkout holds, read from pyproject's package map: the installed `shoal.__path__` shows only a part."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE_DIR: dict[str, str] = PYPROJECT["tool"]["setuptools"]["package-dir"]
PACKAGES: list[str] = PYPROJECT["tool"]["setuptools"]["packages"]


@attrs.frozen(order=True)
class Module:
    """One source file under the name that it is imported by."""

    name: str
    path: Path

    @property
    def shown(self) -> str:
        """The path as a person writes it."""
        return os.path.relpath(self.path, ROOT)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@attrs.frozen(order=True)
class Import:
    """One import of one name, wherever in the file it stands."""

    line: int
    target: str  # the module, as exactly as the text tells
    in_function: bool
    for_types_only: bool


def modules() -> list[Module]:
    """Every module that the package map reaches, sorted by name."""
    found = []
    for package, folder in PACKAGE_DIR.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found.append(Module(".".join((package, *parts)), path))
    return sorted(found)


def imports_of(module: Module, known: frozenset[str]) -> list[Import]:
    """Every import in the file, those inside functions and `import_module("literal")` included."""
    found = _Finder(known)
    found.visit(ast.parse(module.path.read_text(), module.shown))
    return sorted(found.imports)


class _Finder(ast.NodeVisitor):
    def __init__(self, known: frozenset[str]) -> None:
        self.imports: list[Import] = []
        self._known = known
        self._functions = 0
        self._types_only = 0

    def _add(self, line: int, target: str) -> None:
        self.imports.append(Import(line, target, self._functions > 0, self._types_only > 0))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node.lineno, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            longer = f"{node.module}.{alias.name}"
            self._add(node.lineno, longer if longer in self._known else str(node.module))

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        if (
            name in ("import_module", "__import__")
            and isinstance(first, ast.Constant)
            and isinstance(first.value, str)
        ):
            self._add(node.lineno, first.value)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        guard = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        self._types_only += guard == "TYPE_CHECKING"
        for child in node.body:
            self.visit(child)
        self._types_only -= guard == "TYPE_CHECKING"
        for child in node.orelse:
            self.visit(child)

    def _visit_function(self, node: ast.AST) -> None:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function  # noqa: N815


def python_files(*folders: str) -> Iterator[Path]:
    """Source files of the checkout below these folders; what tools and installs leave behind is not ours."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))
