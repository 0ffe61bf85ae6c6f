"""Files stay small. An exemption records a size that may only shrink, and leaves when it is no longer needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree import PACKAGE_DIR, ROOT, python_files

MOST_LINES = 600  # 300 is what to aim at; at 600 ask what the second reason for the file is

# Path to the number of lines that it may have at most today.
EXEMPT: dict[str, int] = {}

FILES = sorted({*python_files(*PACKAGE_DIR.values(), "tests", "tools", "examples", "benchmarks")})


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_has_one_reason_to_exist(path: Path) -> None:
    assert lines_of(path) <= EXEMPT.get(path.relative_to(ROOT).as_posix(), MOST_LINES)


def test_exemptions_only_shrink() -> None:
    stale = {
        name: allowed
        for name, allowed in EXEMPT.items()
        if not (ROOT / name).is_file() or not MOST_LINES < lines_of(ROOT / name) == allowed
    }
    assert not stale, "write the file's size of today, or take the line out"
