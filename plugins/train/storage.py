"""A run's folder on any filesystem: files are there whole or not at all; a storage that fails gets more tries."""

from __future__ import annotations

import functools
import json
import os
import posixpath
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import uuid4

import attrs

T = TypeVar("T")

_FIRST_PAUSE = 0.1  # seconds; it doubles
_LONGEST_PAUSE = 5.0
_UPLOADS = 8  # files at a time
_CHUNK = 4 << 20  # bytes


def locate(path: str, filesystem: Any = None) -> tuple[Any, str]:
    """Return a pyarrow filesystem and the path in it. Raises ValueError and TypeError for what is none.

    Example: `locate("s3://bucket/runs")`
    """
    from shoal.data.sources.paths import to_filesystem

    return to_filesystem(path, filesystem)


@attrs.frozen(eq=False)
class Storage:
    """A folder in a filesystem. It can be sent to workers.

    Operations that fail with OSError are tried again until `patience` seconds are over; what is missing (locally, or by
    FileNotFoundError) is told at once.
    """

    filesystem: Any
    path: str
    patience: float = 120.0

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine (or one that all machines mount)."""
        return getattr(self.filesystem, "type_name", "") == "local"

    def at(self, *names: str) -> str:
        """Return the path of something in the folder."""
        return posixpath.join(self.path, *names)

    def write(self, name: str, data: bytes) -> None:
        """Write a file; who reads it meanwhile sees the old one or the new one."""
        target = self.at(name)

        def attempt() -> None:
            if not self.is_local:
                try:
                    stream = self.filesystem.open_output_stream(target)
                except FileNotFoundError:  # of a filesystem with real folders
                    self.filesystem.create_dir(posixpath.dirname(target), recursive=True)
                    stream = self.filesystem.open_output_stream(target)
                with stream:
                    stream.write(data)
                return
            os.makedirs(os.path.dirname(target), exist_ok=True)
            beside = f"{target}.{uuid4().hex[:8]}.new"
            try:
                with open(beside, "wb") as file:
                    file.write(data)
                os.replace(beside, target)
            except BaseException:
                if os.path.exists(beside):
                    os.unlink(beside)
                raise

        self._patiently(attempt)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None if it is not there."""
        target = self.at(name)

        def attempt() -> bytes | None:
            try:
                with self.filesystem.open_input_stream(target) as stream:
                    data: bytes = stream.read()
                    return data
            except FileNotFoundError:
                return None

        return self._patiently(attempt)

    def write_json(self, name: str, value: Any) -> None:
        """Write plain data."""
        self.write(name, json.dumps(value, default=_plain).encode())

    def read_json(self, name: str) -> Any:
        """Return plain data, None if the file is not there or no JSON."""
        data = self.read(name)
        try:
            return None if data is None else json.loads(data)
        except ValueError:
            return None

    def delete(self, name: str) -> None:
        """Remove a folder with all that is in it; nothing happens if it is not there."""

        def attempt() -> None:
            try:
                self.filesystem.delete_dir(self.at(name))
            except FileNotFoundError:
                return

        self._patiently(attempt)

    def folders(self) -> list[str]:
        """Return the names of the folders in this one."""
        from pyarrow import fs

        def attempt() -> list[str]:
            selector = fs.FileSelector(self.path, allow_not_found=True)
            found = self.filesystem.get_file_info(selector)
            return [posixpath.basename(each.path) for each in found if each.type == fs.FileType.Directory]

        return self._patiently(attempt)

    def upload(self, folder: str, name: str, files: Sequence[str] | None = None) -> None:
        """Copy a local folder's files, or those that are named, to the folder `name` in this one.

        Raises FileNotFoundError if the local folder vanishes, OSError if the storage fails for too long.
        """
        files = local_files(folder) if files is None else files
        targets = {file: self.at(name, file) for file in files}
        for parent in sorted({posixpath.dirname(target) for target in targets.values()} | {self.at(name)}):
            self._patiently(functools.partial(self.filesystem.create_dir, parent, recursive=True))
        with ThreadPoolExecutor(_UPLOADS, "shoal-upload") as pool:
            done = [
                pool.submit(self._put, os.path.join(folder, *file.split("/")), target)
                for file, target in targets.items()
            ]
            for each in done:
                each.result()

    def _put(self, source: str, target: str) -> None:
        def attempt() -> None:
            try:
                file = open(source, "rb")  # noqa: SIM115  closed below
            except FileNotFoundError as error:
                raise Vanished(f"{source} was there when the upload began and is gone now") from error
            with file:
                if self.is_local:
                    import shutil

                    beside = f"{target}.{uuid4().hex[:8]}.new"
                    try:
                        shutil.copyfile(source, beside)
                        os.replace(beside, target)
                    except BaseException:
                        if os.path.exists(beside):
                            os.unlink(beside)
                        raise
                    return
                with self.filesystem.open_output_stream(target) as stream:
                    while chunk := file.read(_CHUNK):
                        stream.write(chunk)

        self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        deadline = time.monotonic() + self.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except (Vanished, PermissionError, NotADirectoryError, IsADirectoryError):
                raise
            except OSError as error:
                if time.monotonic() + pause > deadline:
                    raise OSError(
                        f"the storage {self.path} failed for {self.patience:g} s (sync_timeout): {error}"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


class Vanished(FileNotFoundError):
    """A file that was to be uploaded is gone. Keep a checkpoint's folder until its upload is over."""


def local_files(folder: str) -> list[str]:
    """Return a local folder's files, relative, with slashes. Raises FileNotFoundError if it is no folder.

    Example: `local_files("/tmp/checkpoint")  # ["model.pt"]`
    """
    if not os.path.isdir(folder):
        raise Vanished(f"the checkpoint's folder {folder} is not there (any more)")
    found: list[str] = []
    for at, _, names in os.walk(folder):
        inside = os.path.relpath(at, folder)
        found += [name if inside == "." else "/".join([*inside.split(os.sep), name]) for name in names]
    return sorted(found)


def _plain(value: Any) -> Any:
    """Turn what metrics are made of into plain data."""
    item = getattr(value, "item", None)
    if callable(item):
        try:
            return item()
        except Exception:  # an array of several values
            return value.tolist() if hasattr(value, "tolist") else repr(value)
    return repr(value)
