"""Pages as a reader sees them: code blocks with what is said about them in comments, headings, links.

A comment right above a block says how it is run; without one a Python block is a whole program, run by the engine
`native` in a process of its own:

    <!-- engine: inline -->      run by that engine
    <!-- file: mine.py -->       not run but saved under that name, for the blocks that follow to import
    <!-- goes on -->             the block before it goes on here: both are one program
    <!-- run -->                 above a console block: its lines that begin with "$ " are run
    <!-- not run: reason -->     neither; the reason is for the reader of the source

A block of the language "output" is what the program before it prints. A table [project.entry-points."…"] in a toml
block registers its plugins for the blocks that follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")})
KNOWN_MARKS = {"engine", "file", "goes on", "run", "not run"}

_FENCE = re.compile(r"^(`{3,})(\S*)[^`]*$")
_COMMENT = re.compile(r"^<!--\s*(.*?)\s*-->$")


@attrs.frozen(kw_only=True)
class Block:
    """One fenced block. `mark` is the word of the comment above it, `value` what follows the colon."""

    line: int
    language: str
    text: str
    mark: str = ""
    value: str = ""


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return list(_blocks(page.read_text().splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    above = ""
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            above = lines[number] if lines[number].strip() else above
            number += 1
            continue
        end = lines.index(fence[1], number + 1)
        comment = _COMMENT.match(above)
        mark, _, value = comment[1].partition(": ") if comment else ("", "", "")
        body = "\n".join(lines[number + 1 : end]) + "\n"
        yield Block(line=number + 1, language=fence[2], text=body, mark=mark, value=value)
        above = ""
        number = end + 1


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^(`{3,})[^`\n]*\n.*?^\1$", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Return the fragments that lead to the page's headings, as they are made on a code host."""
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*$", prose(page), flags=re.M)
    found: set[str] = set()
    for heading in headings:
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found
