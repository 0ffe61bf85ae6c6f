"""Patterns of files to leave out, in the language of .gitignore (gitignore(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from shoal.errors import ConfigError

ALWAYS = (".git/", "__pycache__/", "*.pyc", ".venv/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/")
FILES = (".gitignore", ".shoalignore")


@attrs.frozen
class Pattern:
    """One line: what it matches below `base`, and whether it leaves out or takes back in."""

    base: str  # folder that it counts from, "" for the root, else with a slash at the end
    regex: re.Pattern[str]
    folders_only: bool
    negated: bool


def parse(lines: Iterable[str], base: str = "") -> list[Pattern]:
    """Read patterns; blank lines and comments say nothing. Raises ConfigError for one that cannot be read."""
    patterns = []
    for line in lines:
        text = line.rstrip("\n").rstrip()
        if not text or text.startswith("#"):
            continue
        negated = text.startswith("!")
        text = text[1:] if negated else text.removeprefix("\\")
        folders_only = text.endswith("/")
        text = text.rstrip("/")
        anchored = "/" in text
        text = text.removeprefix("/")
        try:
            regex = re.compile(("" if anchored else "(?:.*/)?") + _translate(text) + r"\Z", re.DOTALL)
        except re.error as error:
            raise ConfigError(f"the pattern {line!r} cannot be read: {error}") from error
        patterns.append(Pattern(base, regex, folders_only, negated))
    return patterns


def ignored(patterns: Iterable[Pattern], path: str, is_folder: bool) -> bool:
    """Tell whether a path relative to the root is left out: the last pattern that matches decides."""
    verdict = False
    for pattern in patterns:
        if pattern.folders_only and not is_folder:
            continue
        if path.startswith(pattern.base) and pattern.regex.match(path, len(pattern.base)):
            verdict = not pattern.negated
    return verdict


def _translate(glob: str) -> str:
    parts = []
    i = 0
    while i < len(glob):
        if glob.startswith("**/", i):
            parts.append("(?:.*/)?")
            i += 3
        elif glob.startswith("**", i):
            parts.append(".*")
            i += 2
        elif glob[i] == "*":
            parts.append("[^/]*")
            i += 1
        elif glob[i] == "?":
            parts.append("[^/]")
            i += 1
        elif glob[i] == "[" and (end := glob.find("]", i + 2)) > 0:
            inside = glob[i + 1 : end].replace("\\", "\\\\")
            parts.append("[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]")
            i = end + 1
        else:
            if glob[i] == "\\" and i + 1 < len(glob):
                i += 1
            parts.append(re.escape(glob[i]))
            i += 1
    return "".join(parts)
