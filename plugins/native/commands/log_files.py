"""Reading logs that are rotated: the last lines, and then those that come."""

from __future__ import annotations

import os

_BLOCK = 1 << 16


def tail(path: str, count: int) -> list[str]:
    """Return the last lines of a log, older files of it included; no more of them is read than that takes."""
    followed = Followed(path, count)
    return [*followed.new_lines(), *followed.end()][-count:] if count else []


class Followed:
    """A log from its last lines on. It keeps its place when that is rotated, and waits for one that is not there."""

    def __init__(self, path: str, count: int) -> None:
        """Begin with the last `count` lines of what is there now, files that were put aside included."""
        self._path = path
        self._rest = b""  # of a line that has not ended
        self._file = -1
        self._waiting: list[bytes] = []  # lines that the first call returns
        self._open()
        *lines, self._rest = self._last(count).split(b"\n")
        self._waiting = lines[-count:] if count else []

    def new_lines(self) -> list[str]:
        """Return the lines that have come since the last call."""
        lines, self._waiting = self._waiting, []
        if self._file < 0:
            self._open()
        lines += self._read()
        if self._rotated():
            lines += self._read()  # what came between reading and being put aside
            self._close()
            self._open()
            lines += self._read()
        return _decoded(lines)

    def end(self) -> list[str]:
        """Close the file, and return the line that was never ended, if there is one."""
        self._close()
        rest, self._rest = self._rest, b""
        return _decoded([rest] if rest else [])

    def _last(self, count: int) -> bytes:
        """Return the end of what is there: so many lines at least, or all there is. The file is then at its end."""
        data, mine, number = b"", -1, 1
        if self._file >= 0:  # a file that was just put aside has no successor before the next line
            mine = os.fstat(self._file).st_ino
            data = _backwards(self._file, os.lseek(self._file, 0, os.SEEK_END), count, data)
        while data.count(b"\n") <= count:
            try:
                with open(f"{self._path}.{number}", "rb") as older:
                    status = os.fstat(older.fileno())
                    if status.st_ino != mine:  # ours may have been put aside just now
                        data = _backwards(older.fileno(), status.st_size, count, data)
            except FileNotFoundError:
                break
            number += 1
        return data

    def _open(self) -> None:
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._file = -1

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _rotated(self) -> bool:
        if self._file < 0:
            return False
        try:
            return os.stat(self._path).st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False  # its session has ended, or the next file is not begun yet

    def _read(self) -> list[bytes]:
        found: list[bytes] = []
        while self._file >= 0 and (data := os.read(self._file, _BLOCK)):
            *lines, self._rest = (self._rest + data).split(b"\n")
            found += lines
        return found


def _backwards(file: int, end: int, count: int, after: bytes) -> bytes:
    """Return the last of what is before `end` in a file, and `after`: so many lines together, or all there is."""
    blocks = [after]
    newlines = after.count(b"\n")
    while end > 0 and newlines <= count:
        start = max(0, end - _BLOCK)
        block = os.pread(file, end - start, start)
        newlines += block.count(b"\n")
        blocks.append(block)
        end = start
    return b"".join(reversed(blocks))


def _decoded(lines: list[bytes]) -> list[str]:
    return [line.decode("utf-8", "replace") for line in lines]
