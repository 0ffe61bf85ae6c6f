"""What a job prints, in two files of its node's session: the newest of it, and where in all of it that begins."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re

OLDER = ".1"  # what the older file's name ends with


def log_name(submission_id: str) -> str:
    """Return the name of a job's log file; different jobs have different ones, whatever their identifiers hold.

    Example: `log_name("train")` is "job-driver-train-4bd4ac5f.log"
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", submission_id)[:64].strip(".")
    digest = hashlib.sha256(submission_id.encode()).hexdigest()[:8]
    return f"job-driver-{plain}-{digest}.log"


class JobOutput:
    """The writer of a job's log. It keeps at most `limit` bytes and, once there were more, at least half of that.

    Positions count all bytes that were ever written, so that a reader keeps its place when old ones are dropped.
    """

    def __init__(self, folder: str, submission_id: str, limit: int) -> None:
        """Begin an empty log. Raises OSError."""
        self.path = os.path.join(folder, log_name(submission_id))
        self._half = max(1, limit // 2)
        self._size = 0  # of the newer file
        self._older = 0  # of the older one
        self.start = 0  # position of the first byte that is kept
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path + OLDER)
        self._file = self._open()

    @property
    def end(self) -> int:
        """Return the position after the last byte."""
        return self.start + self._older + self._size

    def write(self, data: bytes) -> None:
        """Append. A full disk loses what is printed, not the job."""
        if self._size and self._size + len(data) > self._half:
            os.close(self._file)
            os.replace(self.path, self.path + OLDER)
            self.start += self._older
            self._older, self._size = self._size, 0
            self._file = self._open()
        with contextlib.suppress(OSError):
            self._size += os.write(self._file, data)

    def close(self) -> None:
        """Close the file; what it holds stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)


def read_output(path: str, position: int, size: int, start: int) -> tuple[int, bytes]:
    """Return at most `size` bytes of a log from a position on, and the position where they begin.

    `start` is the position of the first byte that is kept; what came before it is left out.
    """
    position = max(position, start)
    for name in (path + OLDER, path):
        try:
            with open(name, "rb") as file:
                length = os.fstat(file.fileno()).st_size
                if position < start + length:
                    file.seek(position - start)
                    return position, file.read(size)
                start += length
        except FileNotFoundError:
            continue
    return position, b""
