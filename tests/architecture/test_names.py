"""A file is named for what it knows."""

from __future__ import annotations

from collections import Counter

from tree import PACKAGE_DIR, ROOT, python_files

REFUSED = {"util", "utils", "common", "misc", "helper", "helpers", "constants", "stuff"}
# `shoal.util` exists because users of the reference system look for it there.
EXEMPT = {"plugins/util"}


def test_no_junk_drawers() -> None:
    files = [
        path.relative_to(ROOT) for path in python_files(*PACKAGE_DIR.values(), "plugins", "tests", "tools")
    ]
    named = {path.as_posix() for path in files if path.stem in REFUSED}
    folders = {path.parent.as_posix() for path in files if path.parent.name in REFUSED} - EXEMPT
    assert named | folders == set()


def test_test_modules_have_names_of_their_own() -> None:
    # A test's module is imported by its bare name, in workers too: two of one name would be one module.
    names = Counter(path.stem for path in python_files("tests") if path.stem != "conftest")
    assert [name for name, count in names.items() if count > 1] == []


def test_test_folders_are_no_packages() -> None:
    # With an __init__.py pytest would put the folder above on sys.path, at last the repository's root.
    assert [path for path in python_files("tests") if path.name == "__init__.py"] == []


def test_tests_are_not_numbered() -> None:
    assert [path.name for path in python_files("tests") if path.stem[-1].isdigit()] == []
