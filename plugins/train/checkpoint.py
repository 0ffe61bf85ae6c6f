"""Checkpoints: folders of files, somewhere, and what is said of them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from shoal.errors import describe
from shoal.train.storage import Storage, local_files, locate

METADATA = ".metadata.json"


class Checkpoint:
    """A folder of files in any filesystem. It can be sent, and nothing is copied until somebody wants the files.

    Parameters: `path` is a folder's path or URL; `filesystem` one of pyarrow.fs or fsspec, None for what the path says.
    Raises ValueError and TypeError for what is no path or filesystem.

    Example: `with checkpoint.as_directory() as folder: model.load_state_dict(torch.load(f"{folder}/model.pt"))`
    """

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"a checkpoint's path must be a path or URL, not {describe(path)}")
        self.filesystem: Any
        self.filesystem, self.path = locate(os.fspath(path), filesystem)

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Return a checkpoint of a local folder. Raises FileNotFoundError if it is none.

        Example: `Checkpoint.from_directory("/tmp/model")`
        """
        local_files(os.fspath(path))
        return cls(os.path.abspath(path))

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copy the files to a local folder, a new temporary one by default; return its path.

        Raises FileNotFoundError if the checkpoint is not there (any more).
        """
        target = tempfile.mkdtemp(prefix="checkpoint_") if path is None else os.path.abspath(path)
        os.makedirs(target, exist_ok=True)
        if self._storage.is_local:
            local_files(self.path)
            shutil.copytree(self.path, target, dirs_exist_ok=True)
            return target
        from pyarrow import fs

        selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        found = [
            each.path for each in self.filesystem.get_file_info(selector) if each.type == fs.FileType.File
        ]
        if not found:
            raise FileNotFoundError(f"the checkpoint {self.path} has no files; it may have been deleted")
        for each in found:
            inside = os.path.join(target, *posixpath.relpath(each, self.path).split("/"))
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            beside = f"{inside}.{uuid4().hex[:8]}"
            with self.filesystem.open_input_stream(each) as source, open(beside, "wb") as file:
                shutil.copyfileobj(source, file, 4 << 20)
            os.replace(beside, inside)
        return target

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """Give a local folder with the files: the checkpoint's own if it is local, else a copy that is removed after.

        Raises FileNotFoundError if the checkpoint is not there (any more).

        Example: `with checkpoint.as_directory() as folder: print(os.listdir(folder))`
        """
        if self._storage.is_local:
            local_files(self.path)
            yield self.path
            return
        folder = self.to_directory()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def get_metadata(self) -> dict[str, Any]:
        """Return what was said of the checkpoint with `set_metadata`."""
        found = self._storage.read_json(METADATA)
        return found if isinstance(found, dict) else {}

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Say something of the checkpoint, in plain data, instead of what was said. Raises TypeError for other data."""
        self._storage.write(METADATA, json.dumps(dict(metadata)).encode())

    def update_metadata(self, metadata: dict[str, Any]) -> None:
        """Say something more of the checkpoint."""
        self.set_metadata({**self.get_metadata(), **metadata})

    @property
    def _storage(self) -> Storage:
        return Storage(self.filesystem, self.path, patience=30.0)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Checkpoint)
            and self.path == other.path
            and bool(self.filesystem == other.filesystem)
        )

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(filesystem={self._storage.filesystem.type_name}, path={self.path})"


class FrameworkCheckpoint(Checkpoint):
    """A checkpoint that knows what is in it; it may hold a preprocessor beside the model.

    Parameters: those of Checkpoint.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def get_preprocessor(self) -> Any:
        """Return the preprocessor that was put into it, or None."""
        from shoal.data import Preprocessor

        text = self.get_metadata().get("preprocessor")
        return None if text is None else Preprocessor.deserialize(base64.b64decode(text))

    def set_preprocessor(self, preprocessor: Any) -> None:
        """Put a preprocessor of shoal.data into it."""
        self.update_metadata({"preprocessor": base64.b64encode(preprocessor.serialize()).decode()})

    @classmethod
    def _made(cls, folder: str, preprocessor: Any, says: Mapping[str, Any] | None = None) -> Any:
        made = cls(folder)
        if says:
            made.update_metadata(dict(says))
        if preprocessor is not None:
            made.set_preprocessor(preprocessor)
        return made
