"""WorkingDirStep: a folder of the caller's, as the worker's current folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shoal.environments.ignore import parse
from shoal.environments.package import keep_archive, pack_folder
from shoal.environments.remote import REMOTE, address_of, bring, only_folder
from shoal.environments.unpack import unpack
from shoal.errors import ConfigError, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges


class WorkingDirStep(EnvironmentStep):
    """`{"working_dir": "folder"}`, a .zip file, the address of one, or `{"path": "folder", "excludes": ["*.csv"]}`.

    Addresses are those of file:// and https://, and all that fsspec knows where it is installed (s3://, gs://, …). Each
    node fetches them itself. A folder that is all that such an archive has is taken for the archive.

    The canonical value is `{"uri": path of a zip file, "hash": its SHA-256}` and is accepted as well.
    """

    name: ClassVar[str] = "working_dir"
    order: ClassVar[int] = 20
    __slots__ = ()

    def check(self, value: Any) -> dict[str, str]:
        if is_canonical(value):
            return dict(value)
        address = address_of(value, "runtime_env['working_dir']")
        if address is not None:
            return address
        excludes: Sequence[str] = ()
        path = value
        if isinstance(value, Mapping):
            unknown = sorted(map(str, value.keys() - {"path", "excludes"}))
            if unknown:
                raise ConfigError(
                    f"runtime_env['working_dir'] has no key {unknown}; it has path and excludes"
                )
            path, excludes = value.get("path"), value.get("excludes", ())
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise ConfigError(
                f"runtime_env['working_dir'] must be the path of a folder or .zip file, got {describe(value)}"
            )
        if isinstance(excludes, str) or not all(isinstance(each, str) for each in excludes):
            what = describe(excludes)
            raise ConfigError(f"runtime_env['working_dir']: excludes must be a list of patterns, got {what}")
        if address_of(path, "runtime_env['working_dir']") is not None:
            raise ConfigError(
                "runtime_env['working_dir']: nothing of an archive at an address can be excluded"
            )
        parse(excludes)
        return dict(
            zip(("uri", "hash"), _package(os.path.expanduser(os.fspath(path)), excludes), strict=True)
        )

    def build(self, value: Any, folder: str) -> WorkerChanges:
        if REMOTE in value:
            bring(value, folder)
            folder = only_folder(folder)
        else:
            unpack(value["uri"], value["hash"], folder)
        return WorkerChanges(working_folder=folder, path=[folder])


def is_canonical(value: Any) -> bool:
    """Tell whether a value is what `check` returned before."""
    return (
        isinstance(value, Mapping)
        and value.keys() == {"uri", "hash"}
        and all(isinstance(each, str) for each in value.values())
    )


def _package(path: str, excludes: Sequence[str]) -> tuple[str, str]:
    if os.path.isdir(path):
        return pack_folder(path, excludes)
    if os.path.isfile(path) and path.endswith(".zip"):
        return keep_archive(path)
    there = "is neither a folder nor a .zip file" if os.path.exists(path) else "does not exist"
    raise ConfigError(f"runtime_env['working_dir']: {path!r} {there} (the current folder is {os.getcwd()!r})")
