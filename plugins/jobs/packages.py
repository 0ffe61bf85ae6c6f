"""Local folders of a job's environment: packed where it is submitted, sent once, and found again at the head.

In what a client sends, such a package is `package://SHA256.zip`; nothing else there names a file, since paths mean
something on the client's machine only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from shoal.environments.conda import CondaStep
from shoal.environments.package import find_package, keep_archive, pack_file, pack_folder
from shoal.environments.packages import PipStep, UvStep
from shoal.environments.setup_hook import SetupHookStep
from shoal.errors import ConfigError, describe
from shoal.interfaces.environment import EnvironmentStep

MOST_BYTES = 512 << 20
_SCHEME = "package://"
_NAME = re.compile(r"([0-9a-f]{64})\.zip")
# key → whether its value is a list of paths
_LOCAL = {"working_dir": False, "py_modules": True}
_ADDRESSES = ("file", "http", "https", "s3", "gs")
# Values that may name files of the client's, or be functions of its program: it makes plain data of them.
_CHECKED: tuple[type[EnvironmentStep], ...] = (PipStep, UvStep, CondaStep, SetupHookStep)


def digest_of(name: str) -> str:
    """Return the SHA-256 in a package's name. Raises ConfigError for another name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ConfigError(f"a package is named SHA256.zip, not {describe(name)}")
    return found[1]


def keep_upload(path: str, name: str) -> None:
    """Keep an uploaded file in this machine's cache of packages. Raises ConfigError if it is not what its name says."""
    wanted = digest_of(name)
    _, found = keep_archive(path)
    if found != wanted:
        raise ConfigError(f"the package's contents have the SHA-256 {found}, not {wanted}: send it again")


def pack_environment(runtime_env: Mapping[str, Any], upload: Callable[[str, str], None]) -> dict[str, Any]:
    """Return an environment as it is sent: each local folder or file is packed and given to `upload(name, path)`.

    Raises ConfigError for a path that is not there, or a folder that is too large.
    """
    sent = dict(runtime_env)
    excludes = sent.pop("excludes", ())
    for key, is_list in _LOCAL.items():
        value = sent.get(key)
        if value is None:
            sent.pop(key, None)
        elif is_list and isinstance(value, (list, tuple)):
            sent[key] = [_sent(key, each, (), upload) for each in value]
        elif not is_list:
            sent[key] = _sent(key, value, excludes, upload)
    for step in _CHECKED:
        if sent.get(step.name) is not None:
            sent[step.name] = step().check(sent[step.name])
    return sent


def _sent(key: str, value: Any, excludes: Any, upload: Callable[[str, str], None]) -> Any:
    path = value
    if isinstance(value, Mapping) and value.keys() <= {"path", "excludes"} and "path" in value:
        path, excludes = value["path"], value.get("excludes", excludes)
    if not isinstance(path, (str, os.PathLike)):
        return value  # the head says what is wrong with it
    path = os.fspath(path)
    if urlsplit(path).scheme in (*_ADDRESSES, "package"):
        return value
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        inside = os.path.basename(os.path.realpath(path)) if key == "py_modules" else ""
        packed, found = pack_folder(path, excludes, inside)
    elif os.path.isfile(path) and path.endswith((".zip", ".whl")):
        packed, found = keep_archive(path)
    elif os.path.isfile(path) and key == "py_modules" and path.endswith(".py"):
        packed, found = pack_file(path)
    else:
        there = "is neither a folder nor an archive" if os.path.exists(path) else "does not exist"
        raise ConfigError(f"runtime_env[{key!r}]: {path!r} {there} (the current folder is {os.getcwd()!r})")
    name = f"{found}.zip"
    upload(name, packed)
    return _SCHEME + name


def unpack_environment(runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    """Return a submitted environment as a session takes it. Raises ConfigError for packages that were not sent, and for
    paths of the client's machine."""
    found = dict(runtime_env)
    for key, is_list in _LOCAL.items():
        value = found.get(key)
        if value is None:
            found.pop(key, None)
        elif is_list and isinstance(value, list):
            found[key] = [_found(key, each) for each in value]
        elif is_list:
            raise ConfigError(f"runtime_env[{key!r}] must be a list, not {describe(value)}")
        else:
            found[key] = _found(key, value)
    return found


def _found(key: str, value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_SCHEME):
        digest = digest_of(value.removeprefix(_SCHEME))
        path = find_package(digest)
        if path is None:
            raise ConfigError(f"runtime_env[{key!r}]: package {digest}.zip was not uploaded, or too long ago")
        return {"uri": path, "hash": digest}
    if isinstance(value, str) and urlsplit(value).scheme in _ADDRESSES:
        return value
    raise ConfigError(
        f"runtime_env[{key!r}]: {describe(value)} is no package that was uploaded; a path means something on your "
        "machine only. JobSubmissionClient and `shoal job submit` pack and send local folders"
    )
