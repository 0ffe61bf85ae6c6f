"""Links lead to files and headings that exist, and every page can be reached from the first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT, anchors, prose

DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def inside(page: Path) -> list[tuple[Path, str]]:
    """Return the (file, fragment) of a page's links into the repository."""
    targets = [
        link for link in _LINK.findall(prose(page)) if "://" not in link and not link.startswith("mailto:")
    ]
    split = [target.partition("#") for target in targets]
    return [((page.parent / path).resolve() if path else page, fragment) for path, _, fragment in split]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = inside(page)
    assert [str(target) for target, _ in links if not target.exists()] == []
    wrong = [f for target, f in links if f and target.suffix == ".md" and f not in anchors(target)]
    assert wrong == []


def test_every_page_can_be_reached_from_the_first() -> None:
    reached: set[Path] = set()
    todo = [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page not in reached and page.suffix == ".md" and page.is_relative_to(DOCS):
            reached.add(page)
            for target, _ in inside(page):  # whoever opens a folder sees its pages
                todo += target.glob("*.md") if target.is_dir() else [target]
    assert {page for page in PAGES if page.is_relative_to(DOCS)} - reached == set()


def test_headings_become_anchors_as_on_a_code_host(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `get()` that waits\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"a-get-that-waits", "twice", "twice-1"}
