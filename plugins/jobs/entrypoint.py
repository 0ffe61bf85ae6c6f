"""The command of a job: split into words as a shell would, and run without one."""

from __future__ import annotations

import re
import shlex
from typing import Any

from shoal.errors import ConfigError, describe

_MOST_BYTES = 1 << 16
_OPERATOR = re.compile(r"[();<>|&]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
# What stands in quotes is the program's, and what stands in single ones the shell would not look at either.
_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)


def split_entrypoint(entrypoint: Any) -> list[str]:
    """Return the words of a job's command.

    No shell reads it, so that nothing in it can mean more than it says. Raises ConfigError for what only a shell could
    do (`&&`, `|`, `>`, `$NAME`, `NAME=value command`), saying what to write in its place.

    Example: `split_entrypoint("python train.py --name 'a b'")` is `["python", "train.py", "--name", "a b"]`
    """
    if not isinstance(entrypoint, str) or not entrypoint.strip():
        raise ConfigError(
            f"entrypoint must be a command such as 'python train.py', not {describe(entrypoint)}"
        )
    if len(entrypoint.encode(errors="replace")) > _MOST_BYTES or "\0" in entrypoint:
        raise ConfigError(
            f"entrypoint must be at most {_MOST_BYTES:,} bytes without NUL; put a longer one into a file of working_dir"
        )
    try:
        words = shlex.split(entrypoint)
        lexer = shlex.shlex(entrypoint, posix=False, punctuation_chars=True)
        lexer.whitespace_split = True
        operators = [token for token in lexer if _OPERATOR.fullmatch(token)]
    except ValueError as error:
        raise ConfigError(f"entrypoint {entrypoint!r} cannot be read: {error}") from None
    wrapped = f"bash -c {shlex.quote(entrypoint)}"
    if operators:
        raise ConfigError(
            f"entrypoint {entrypoint!r} is run without a shell, and {operators[0]!r} means something to a shell only: "
            f"write {wrapped}"
        )
    if _ASSIGNMENT.match(words[0]):
        raise ConfigError(
            f"entrypoint {entrypoint!r} begins with a variable, which only a shell sets: give it as "
            "runtime_env={'env_vars': …}, or write " + wrapped
        )
    if re.search(r"[$`]", _unquoted(entrypoint)):
        raise ConfigError(
            f"entrypoint {entrypoint!r} has a '$' or '`' that only a shell would replace: put it in single quotes to "
            f"mean it as it is, or write {wrapped}"
        )
    return words


def _unquoted(text: str) -> str:
    """Return what a shell would look for `$` in: all but single quotes and what a backslash protects."""

    def keep(match: re.Match[str]) -> str:
        found = match[0]
        return re.sub(r"\\.", "", found) if found.startswith('"') else ""

    return _QUOTED.sub(keep, text)
