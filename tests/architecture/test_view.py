"""The tree for static tools holds every module under the name that users import it by."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from tree import ROOT, modules


def view_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_view", ROOT / "tools" / "make_view.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(tool := importlib.util.module_from_spec(spec))
    return tool


def test_every_module_is_in_the_view(tmp_path: Path) -> None:
    view = tmp_path / "view"
    view_tool().make_view(ROOT, view)
    for module in modules():
        seen = view / module.name.replace(".", "/")
        assert (seen / "__init__.py" if module.is_package else seen.with_suffix(".py")).samefile(module.path)


def test_a_second_view_takes_the_place_of_the_first(tmp_path: Path) -> None:
    view = tmp_path / "view"
    view_tool().make_view(ROOT, view)
    (view / "shoal" / "gone.py").write_text("")
    view_tool().make_view(ROOT, view)
    assert not (view / "shoal" / "gone.py").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["view"]
