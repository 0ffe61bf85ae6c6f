"""Packing a folder into a zip file that is the same for the same contents, and a cache of such files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence

from shoal.environments.ignore import ALWAYS, FILES, Pattern, ignored, parse
from shoal.errors import ConfigError

LIMIT = 512 << 20  # bytes of files that one package may hold
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name
_CACHE_LIMIT = 4 << 30  # bytes
_CACHE_DAYS = 7


def cache_folder() -> str:
    """Return the folder of this user's packages. Raises ConfigError if it belongs to someone else."""
    folder = os.path.join(tempfile.gettempdir(), f"shoal-packages-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ConfigError(
            f"{folder} must be a folder that only user {os.getuid()} can write to; remove it or set TMPDIR"
        )
    return folder


def pack_folder(
    folder: str, excludes: Sequence[str] = (), inside: str = "", limit: int = LIMIT
) -> tuple[str, str]:
    """Pack a folder's files, below the name `inside` if given; return the zip file's path and its SHA-256.

    Links are followed, other special files are left out, and so is what `excludes`, .gitignore and .shoalignore name.
    Raises ConfigError if there is more than `limit`, naming the largest files.
    """
    files = list(_files(os.path.realpath(folder), parse((*ALWAYS, *excludes))))
    sizes = {name: os.stat(path).st_size for name, path in files}
    if sum(sizes.values()) > limit:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
        listed = ", ".join(f"{name} ({sizes[name]:,} bytes)" for name in largest)
        raise ConfigError(
            f"{folder!r} holds {sum(sizes.values()):,} bytes, and at most {limit:,} are shipped. Leave files out with "
            f"'excludes' or a .shoalignore file, or read them from shared storage. The largest: {listed}"
        )
    prefix = f"{inside}/" if inside else ""
    with _new_package() as package:
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, path in sorted(files):
                _add(archive, prefix + name, path)
        return _keep(package)


def pack_file(path: str) -> tuple[str, str]:
    """Pack one file by its own name; return the zip file's path and its SHA-256."""
    with _new_package() as package:
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            _add(archive, os.path.basename(path), path)
        return _keep(package)


def keep_archive(path: str) -> tuple[str, str]:
    """Copy a zip file or wheel as it is; return the copy and its SHA-256. Raises ConfigError for another file."""
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"{path!r} is no zip file")
    with _new_package() as package:
        shutil.copyfile(path, package)
        return _keep(package)


def digest(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    hashed = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


@contextlib.contextmanager
def _new_package() -> Iterator[str]:
    descriptor, path = tempfile.mkstemp(dir=cache_folder(), prefix=".new-")
    os.close(descriptor)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _keep(package: str) -> tuple[str, str]:
    found = digest(package)
    folder = os.path.dirname(package)
    path = os.path.join(folder, f"{found}.zip")
    os.replace(package, path)
    _trim(folder)
    return path, found


def _trim(folder: str) -> None:
    """Remove packages that were not made again for a week, oldest first, while the cache is too large."""
    packages = []
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            found = entry.stat(follow_symlinks=False)
            packages.append((found.st_mtime, found.st_size, entry.path))
    total = sum(size for _, size, _ in packages)
    for made, size, path in sorted(packages):
        if total <= _CACHE_LIMIT or made > time.time() - _CACHE_DAYS * 86_400:
            break
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        total -= size


def _add(archive: zipfile.ZipFile, name: str, path: str) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, whatever machine packs
    executable = os.stat(path).st_mode & stat.S_IXUSR
    info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    with open(path, "rb") as source, archive.open(info, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _files(
    folder: str, patterns: list[Pattern], below: str = "", above: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """Yield the name inside the package and the path of each file."""
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in
        return
    for name in FILES:
        with contextlib.suppress(OSError), open(os.path.join(folder, name), encoding="utf-8") as file:
            patterns = [*patterns, *parse(file, below)]
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        name = below + entry.name
        if ignored(patterns, name, entry.is_dir()):
            continue
        if entry.is_dir():
            yield from _files(entry.path, patterns, name + "/", above | {real})
        elif entry.is_file():
            yield name, entry.path


def find_package(found: str) -> str | None:
    """Return the file of a package that this user's cache has, by its SHA-256; it is then kept for a week more."""
    path = os.path.join(cache_folder(), f"{found}.zip")
    try:
        os.utime(path)
    except FileNotFoundError:
        return None
    return path
