"""What a trial prints, in files of its folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.tools.running import Tee

__all__ = ["files_of", "output_to"]

_MOST_BYTES = 64 << 20  # of one file


def files_of(log_to_file: Any) -> tuple[str | None, str | None]:
    """Return the names of the files for standard output and errors that `log_to_file` means. Raises ConfigError.

    Example: `files_of(True)  # ("stdout", "stderr")`
    """
    if not log_to_file:
        return None, None
    if log_to_file is True:
        return "stdout", "stderr"
    names = [log_to_file, log_to_file] if isinstance(log_to_file, str) else log_to_file
    good = isinstance(names, Sequence) and len(names) == 2
    if not good or any(
        each is not None and (not isinstance(each, str) or not each or "/" in each) for each in names
    ):
        raise ConfigError(
            f"log_to_file must be True, a file's name or two of them, not {describe(log_to_file)}"
        )
    return names[0], names[1]


class _Bounded:
    """A file that takes no more than so many bytes, and says so at its end."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by its owner
        self._left = _MOST_BYTES - self._file.tell()

    @property
    def closed(self) -> bool:
        """Whether it takes nothing any more."""
        return self._file.closed or self._left <= 0

    def write(self, text: str) -> int:
        """Write as much as there is room for."""
        self._file.write(text[: self._left])
        self._left -= len(text)
        if self._left <= 0:
            self._file.write(f"\n… more than {_MOST_BYTES >> 20} MiB was printed; the rest is left out\n")
            self._file.flush()
        return len(text)

    def flush(self) -> None:
        """Have it on the disk."""
        self._file.flush()

    def close(self) -> None:
        """Close it."""
        self._file.close()


@contextlib.contextmanager
def output_to(folder: str, files: tuple[str | None, str | None]) -> Iterator[None]:
    """Have what is printed meanwhile go to files in a folder as well, those that are not None."""
    with contextlib.ExitStack() as stack:
        opened: dict[str, _Bounded] = {}
        for name, redirect in zip(files, _REDIRECTS, strict=True):
            if name is None:
                continue
            if name not in opened:
                opened[name] = _Bounded(os.path.join(folder, name))
                stack.callback(opened[name].close)
            stack.enter_context(redirect(opened[name]))
        yield


def _both(redirect: Any, name: str) -> Any:
    import sys

    return lambda file: redirect(Tee(getattr(sys, name), file))


_REDIRECTS = (
    _both(contextlib.redirect_stdout, "stdout"),
    _both(contextlib.redirect_stderr, "stderr"),
)
