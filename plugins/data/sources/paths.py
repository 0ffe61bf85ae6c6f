"""Files of a source: which there are under what was given, and what their folders' names say."""

from __future__ import annotations

import fnmatch
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlparse

import attrs
import numpy as np

from shoal.errors import describe


@attrs.frozen
class File:
    """One file: its path in the filesystem, its bytes, and the values that its folders' names give."""

    path: str
    size: int
    partition: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class FileShuffleConfig:
    """Files are read in a random order; with a seed in one that follows from it.

    The order is drawn anew in each execution (of epochs, say), with a seed too unless `reseed_after_execution` is
    False.

    Example: `read_parquet("images", shuffle=FileShuffleConfig(seed=1))`
    """

    seed: int | None = None
    reseed_after_execution: bool = True

    def get_seed(self, execution_idx: int) -> int | None:
        """Return the seed of an execution, the first of which is number 0; None if the order follows from nothing.

        Example: `FileShuffleConfig(seed=1, reseed_after_execution=False).get_seed(5)  # 1`
        """
        if self.seed is None or not self.reseed_after_execution:
            return self.seed
        return int(np.random.SeedSequence((self.seed, execution_idx)).generate_state(1)[0])


def _style(given: Any) -> Any:
    return getattr(given, "value", given)


@attrs.frozen
class Partitioning:
    """What folders' names say of the rows in them.

    Parameters: `style` is "hive" (folders `name=value`) or "dir" (only values, whose names are `field_names`, from
    `base_dir` on). `field_types` are Python types that values are turned into; else they are text.
    `filesystem` is that of `base_dir`, one of pyarrow.fs or fsspec.
    Raises ValueError for another style, or "dir" without names.

    Example: `read_csv("logs/", partitioning=Partitioning("dir", field_names=["year", "month"]))`
    """

    style: str = attrs.field(default="hive", converter=_style)
    base_dir: str | None = None
    field_names: Sequence[str] | None = None
    field_types: Mapping[str, Callable[[str], Any]] | None = None
    filesystem: Any = None

    @property
    def normalized_base_dir(self) -> str:
        """The folder in which folders begin to say something, as a path of its filesystem; "" if none was given."""
        return "" if not self.base_dir else to_filesystem(self.base_dir, self.filesystem)[1].rstrip("/")

    @property
    def resolved_filesystem(self) -> Any:
        """The filesystem of the base folder."""
        return to_filesystem(self.base_dir or "/", self.filesystem)[0]

    def to_pyarrow(self) -> Any:
        """Return it as pyarrow's partitioning.

        Example: `pyarrow.dataset.dataset("logs", partitioning=partitioning.to_pyarrow())`
        """
        import pyarrow as pa
        from pyarrow import dataset

        known: dict[Any, Any] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        types = self.field_types or {}
        schema = pa.schema(
            [(name, known.get(types.get(name, str), pa.string())) for name in self.field_names or ()]
        )
        if self.style == "dir":
            return dataset.DirectoryPartitioning(schema)
        return dataset.HivePartitioning(schema) if self.field_names else dataset.partitioning(flavor="hive")

    def __attrs_post_init__(self) -> None:
        if self.style not in ("hive", "dir"):
            raise ValueError(f'the style of a Partitioning is "hive" or "dir", not {describe(self.style)}')
        if self.style == "dir" and not self.field_names:
            raise ValueError("a Partitioning of style 'dir' needs field_names")

    def of(self, path: str, base: str) -> dict[str, Any]:
        """Return the values of a path in the folder `base`. Raises ValueError for too few folders.

        Example: `Partitioning("hive").of("/a/year=2024/x.csv", "/a")  # {"year": "2024"}`
        """
        if self.style == "hive":
            pairs = [folder.partition("=") for folder in posixpath.dirname(path).split("/") if "=" in folder]
            found = {unquote(name): unquote(value) for name, mark, value in pairs if mark and name}
        else:
            inside = posixpath.relpath(posixpath.dirname(path), self.normalized_base_dir or base)
            folders = [] if inside == "." else inside.split("/")
            names = list(self.field_names or ())
            if len(folders) != len(names):
                raise ValueError(f"{path} lies in {len(folders)} folders, but field_names are {names}")
            found = {name: unquote(folder) for name, folder in zip(names, folders, strict=True)}
        kinds = self.field_types or {}
        return {name: kinds[name](value) if name in kinds else value for name, value in found.items()}


class OpenedWith:
    """A filesystem for reading, whose streams are opened with further arguments, such as a compression.

    Example: `OpenedWith(filesystem, {"compression": "gzip"}).open_input_stream("a.csv")`
    """

    def __init__(self, filesystem: Any, how: Mapping[str, Any]) -> None:
        self._filesystem = filesystem
        self._how = dict(how)

    def open_input_stream(self, path: str, **own: Any) -> Any:
        """Open a file to be read from its beginning on; what was given goes before what a format says."""
        return self._filesystem.open_input_stream(path, **{**own, **self._how})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filesystem, name)


def to_filesystem(path: str, filesystem: Any) -> tuple[Any, str]:
    """Return a pyarrow filesystem and the path in it, of a path or URL; fsspec's filesystems are wrapped.

    Raises ValueError for a URL whose filesystem is not known.

    Example: `to_filesystem("s3://bucket/folder", None)`
    """
    from pyarrow import fs

    if filesystem is not None:
        if not isinstance(filesystem, fs.FileSystem):
            try:
                filesystem = fs.PyFileSystem(fs.FSSpecHandler(filesystem))
            except Exception as error:
                raise TypeError(
                    f"filesystem must be one of pyarrow.fs or fsspec, not {describe(filesystem)}"
                ) from error
        scheme, mark, rest = path.partition("://")
        return filesystem, (rest if mark and scheme else path)
    if "://" not in path:
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    if path.startswith(("s3://", "s3a://")):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            where = urlparse(endpoint)
            return fs.S3FileSystem(endpoint_override=where.netloc, scheme=where.scheme), path.partition(
                "://"
            )[2]
    try:
        system, inside = fs.FileSystem.from_uri(path)
    except Exception as error:
        raise ValueError(
            f"no filesystem is known for {path!r} ({error}); give one as filesystem=, of pyarrow.fs or fsspec"
        ) from error
    return system, inside


def check_paths(paths: Any) -> list[str]:
    """Return paths as a list of text. Raises TypeError for anything else and ValueError for an empty list.

    Example: `check_paths("a.csv")  # ["a.csv"]`
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    if not isinstance(given, (list, tuple)) or not all(
        isinstance(each, (str, os.PathLike)) for each in given
    ):
        raise TypeError(f"paths must be a path or a list of paths, not {describe(paths)}")
    if not given:
        raise ValueError("paths must name at least one file or folder")
    return [os.fspath(each) for each in given]


def find_files(
    paths: Sequence[str],
    filesystem: Any,
    extensions: Sequence[str] | None,
    ignore_missing: bool,
    partitioning: Partitioning | None,
) -> tuple[Any, list[File]]:
    """Return the filesystem, and the files that paths, folders (with all that is in them) and globs name.

    Of folders and globs, files whose names begin with "." or "_" are left out, and with `extensions` those that end
    otherwise. Files come in the order of their paths. `partitioning` reads values from folders' names.
    Raises FileNotFoundError for a path that is not there, unless `ignore_missing`.

    Example: `find_files(["logs/2024-*/"], None, ["csv"], False, None)`
    """
    from pyarrow import fs

    found: list[File] = []
    system = filesystem
    for path in paths:
        system, inside = to_filesystem(path, filesystem)
        is_glob = any(mark in inside for mark in "*?[")
        base = _before_glob(inside) if is_glob else inside
        info = system.get_file_info(base)
        if info.type == fs.FileType.NotFound:
            if ignore_missing:
                continue
            raise FileNotFoundError(
                f"there is no file or folder {path!r}; ignore_missing_paths=True leaves it out"
            )
        if info.type == fs.FileType.File:
            infos = [info]
        else:
            listed = system.get_file_info(fs.FileSelector(base, recursive=True))
            infos = [
                each for each in listed if each.type == fs.FileType.File and not _is_hidden(each.path, base)
            ]
            if is_glob:
                pattern = inside.rstrip("/")
                infos = [each for each in infos if _matches(each.path, pattern)]
            if extensions is not None:
                endings = tuple("." + each.lstrip(".").lower() for each in extensions)
                infos = [each for each in infos if each.path.lower().endswith(endings)]
        found += [
            File(each.path, each.size or 0, {} if partitioning is None else partitioning.of(each.path, base))
            for each in sorted(infos, key=lambda each: each.path)
        ]
        if is_glob and not infos and not ignore_missing:
            raise FileNotFoundError(f"no file matches {path!r}; ignore_missing_paths=True leaves it out")
    return system, found


def check_shuffle(shuffle: Any) -> FileShuffleConfig | None:
    """Return how files are shuffled: not at all, for "files" at random, or as a FileShuffleConfig says.

    Raises ValueError.

    Example: `check_shuffle("files")`
    """
    if shuffle == "files":
        return FileShuffleConfig()
    if shuffle is not None and not isinstance(shuffle, FileShuffleConfig):
        raise ValueError(f'shuffle must be None, "files" or a FileShuffleConfig, not {describe(shuffle)}')
    return shuffle


def _before_glob(path: str) -> str:
    parts = path.split("/")
    first = next(number for number, part in enumerate(parts) if any(mark in part for mark in "*?["))
    return "/".join(parts[:first]) or "/"


def _matches(path: str, pattern: str) -> bool:
    """Whether a path, or a folder that it lies in, matches; `*` does not cross a slash, `**` does."""
    wanted, have = pattern.strip("/").split("/"), path.strip("/").split("/")
    return _match_parts(have, wanted)


def _match_parts(have: list[str], wanted: list[str]) -> bool:
    if not wanted:
        return True  # it lies in a folder that matches
    if wanted[0] == "**":
        return any(_match_parts(have[skipped:], wanted[1:]) for skipped in range(len(have) + 1))
    return bool(have) and fnmatch.fnmatchcase(have[0], wanted[0]) and _match_parts(have[1:], wanted[1:])


def _is_hidden(path: str, base: str) -> bool:
    return any(part.startswith((".", "_")) for part in posixpath.relpath(path, base).split("/"))
