"""Pages that are made from the code are those that the code makes today, and links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from tree import ROOT

from shoal.config import settings
from shoal.interfaces.hooks import hook_names

spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
assert spec is not None
assert spec.loader is not None
spec.loader.exec_module(make_docs := importlib.util.module_from_spec(spec))

PROSE = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")})


@pytest.mark.parametrize("name", make_docs.PAGES)
def test_a_made_page_is_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == make_docs.PAGES[name](), "run `make docs`"


def test_the_pages_hold_every_setting_and_hook() -> None:
    config, hooks = make_docs.config_page(), make_docs.hooks_page()
    assert [setting.name for setting in settings() if f"## {setting.name}\n" not in config] == []
    assert [name for name in hook_names() if f"## {name}(" not in hooks] == []


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in inside if not (page.parent / target).exists()] == []
