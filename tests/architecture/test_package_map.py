"""pyproject's package list and the folders agree: what is missing there would be missing from the wheel."""

from __future__ import annotations

from tree import PACKAGE_DIR, PACKAGES, ROOT, modules


def folders_with_modules() -> set[str]:
    """Import names of all folders that hold a module."""
    return {module.name if module.is_package else module.name.rpartition(".")[0] for module in modules()}


def test_every_folder_with_modules_is_a_listed_package() -> None:
    missing = sorted(folders_with_modules() - set(PACKAGES))
    assert not missing, f"list {missing} under [tool.setuptools] packages in pyproject.toml"


def test_every_folder_with_modules_has_an_init_file() -> None:
    # Without one Python makes a namespace package of it: importable, but left out by tools that walk packages.
    named = {module.name for module in modules() if module.is_package}
    assert sorted(folders_with_modules() - named) == []


def test_every_plugin_folder_is_mapped() -> None:
    folders = {f"plugins/{path.name}" for path in (ROOT / "plugins").iterdir() if any(path.glob("*.py"))}
    assert folders <= set(PACKAGE_DIR.values())


def test_the_list_is_sorted_and_has_no_doubles() -> None:
    assert sorted(set(PACKAGES)) == PACKAGES


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "kernel" / "py.typed").is_file()
